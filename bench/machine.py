"""What a figure was measured on: a ratio without it cannot be compared with another."""

import json
import os
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def describe_machine():
    """Family, model and L1d tell processor generations apart even in a virtual machine that shows no name."""
    text = Path("/proc/cpuinfo").read_text()

    def value(key):
        found = re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE)
        return found.group(1) if found else "?"

    flags = value("flags").split()
    l1d = Path("/sys/devices/system/cpu/cpu0/cache/index0/size")
    return {"cpu": value("model name"), "family": value("cpu family"), "model": value("model"),
            "l1d": l1d.read_text().strip() if l1d.exists() else "?", "cores": len(os.sched_getaffinity(0)),
            "vector": next((name for name in ("avx512_bf16", "avx512f", "avx2") if name in flags), "none")}


def describe_commit():
    shown = subprocess.run(["git", "-C", str(PROJECT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return shown.stdout.strip() or "unknown"


def describe_peer(python):
    """{library: version}, or {} where the peer's libraries are not installed."""
    code = ("import importlib.metadata as m, json; "
            "print(json.dumps({n: m.version(n) for n in ('torch', 'transformers', 'peft')}))")
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if shown.returncode:
        return {}
    return json.loads(shown.stdout)
