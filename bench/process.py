"""Runs one training process and observes it from outside, alike for every side.

A process appends a line to its metrics file when an optimiser step is done. The times of these lines, counted from exec,
are the only clock: no side reports its own speed.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.002


@dataclass
class Observation:
    """What one process did. Times in seconds since exec, memory in GiB."""

    step_ends_s: list = field(default_factory=list)
    losses: list = field(default_factory=list)
    peak_gib: float = 0.0       # highest resident memory of the process, file pages it mapped included
    first_step_cpu_s: float = 0.0  # CPU seconds, all threads, when the first step was seen to be done
    foreign_cores: float = 0.0  # cores that other processes kept busy meanwhile
    timed_out: bool = False

    def step_times_s(self, num_warmup):
        """Durations of the steps after the first `num_warmup`."""
        ends = self.step_ends_s[max(num_warmup, 1) - 1:]
        return [after - before for before, after in zip(ends, ends[1:])]


def busy_cpu_s():
    """CPU seconds that the machine has spent since it started."""
    user, nice, system = open("/proc/stat").readline().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def cpu_s_of(pid):
    """CPU seconds that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(command, metrics, log, environment=None, limit_s=None):
    """Runs `command` until it ends, or until limit_s, and returns its Observation.

    Raises RuntimeError with the tail of the log when it fails.
    """
    metrics = Path(metrics)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.unlink(missing_ok=True)
    seen = Observation()
    busy_before, started = busy_cpu_s(), time.monotonic()
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        status, usage = 0, None
        while usage is None:
            time.sleep(POLL_S)
            _note_finished_steps(metrics, seen, time.monotonic() - started)
            if seen.step_ends_s and not seen.first_step_cpu_s:
                seen.first_step_cpu_s = cpu_s_of(process.pid)
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            usage = used if pid else None
            if not pid and limit_s and time.monotonic() - started > limit_s and not seen.timed_out:
                seen.timed_out = True
                process.send_signal(signal.SIGKILL)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.monotonic() - started
    _note_finished_steps(metrics, seen, wall_s)
    own_s = usage.ru_utime + usage.ru_stime
    seen.foreign_cores = max(0.0, (busy_cpu_s() - busy_before - own_s) / wall_s)
    seen.peak_gib = usage.ru_maxrss / 2**20
    if process.returncode and not seen.timed_out:
        tail = Path(log).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{command[0]} ended with {process.returncode}; the end of {log}:\n{tail}")
    return seen


def _note_finished_steps(metrics, seen, now_s):
    if not metrics.exists():
        return
    lines = [line for line in metrics.read_text().splitlines(keepends=True) if '"loss":' in line]  # steps
    for line in lines[len(seen.step_ends_s):]:
        if line.endswith("\n"):
            seen.step_ends_s.append(now_s)
            seen.losses.append(json.loads(line)["loss"])
