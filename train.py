"""`python train.py --config configs/my_config.yaml` is `lora-dist train --config configs/my_config.yaml`.

Every further argument is handed on as it is (`--ranks 4`, `epochs=3`), under mpirun and torchrun too.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))
from lora_dist_binary import become_lora_dist  # noqa: E402

if __name__ == "__main__":
    become_lora_dist(["train", *sys.argv[1:]])
