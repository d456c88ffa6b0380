"""Finds the lora-dist binary and becomes it.

Shared by train.py and auto_label.py, the two spellings of commands that guides for other tools use. Everything is done by
the binary; no Python runs once it has started. Standard library only.
"""

import os
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
EXIT_USAGE = 2


def become_lora_dist(arguments):
    """Replaces this process by `lora-dist <arguments>`, so exit code, signals and rank variables are the binary's own.

    The build of this checkout wins over one on PATH. Ends with exit code 2 where there is neither.
    """
    built = PROJECT / "build" / "release" / "lora-dist"
    binary = str(built) if os.access(built, os.X_OK) else shutil.which("lora-dist")
    if binary is None:
        print(f"error: {built}: not built, and no lora-dist on PATH; run: make -C {PROJECT} build", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    os.execv(binary, [binary, *arguments])
