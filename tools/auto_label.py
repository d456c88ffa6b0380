"""`python tools/auto_label.py --input pictures --output metadata.csv` is `lora-dist label --input ... --output ...`."""

import sys

from lora_dist_binary import become_lora_dist

if __name__ == "__main__":
    become_lora_dist(["label", *sys.argv[1:]])
