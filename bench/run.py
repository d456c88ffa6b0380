"""lora-dist against PyTorch + transformers + PEFT, side by side in one run. `make bench` calls it.

For each case: every peer setting runs once and the fastest one counts; losses are compared before any speed is printed;
then whole processes alternate in blocks of A B B A. Only ratios are results; absolute figures stand beside them as context.
docs/performance.md explains the rules. Standard library only; the peer's libraries are in the Python named by --peer-python.

Exit codes: 0 every target met, 1 a target missed, 2 a side does not run, 3 the losses differ.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from machine import describe_commit, describe_machine, describe_peer
from ratios import block_ratio, interval, largest_relative_difference, median
from sides import BENCH, CASES, NUM_THREADS, PROJECT, RUNS, START_CASE, Ours, Peer

NUM_WARMUP = 1
PEER_SETTINGS = [("tuned", "fp32"), ("default", "fp32"), ("tuned", "bf16"), ("default", "bf16")]
COMPILED_SETTINGS = [("compiled", "fp32"), ("compiled", "bf16")]
TARGET_START_S, TARGET_START_CPU_S, TARGET_START_CPU = 2.0, 0.7, 0.12
COMPILING_S = 600  # what torch.compile may take before its first step
LEAST_SHARE = 0.75  # of the rate of this machine's products
# Relative difference of the loss that still counts as the same training.
GATE_LIMIT = {"fp32": 1e-4, "bf16": 1e-2}
MISSED, NOT_RUN, GATE_FAILED = 1, 2, 3


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="default: all")
    parser.add_argument("--blocks", type=int, default=2, help="A B B A blocks per case; 10 for a figure to publish")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each process")
    parser.add_argument("--gate-steps", type=int, default=0, help="compare this many losses first; 20 for a figure to publish")
    parser.add_argument("--dtype", default="auto", choices=["auto", "bf16", "fp32"], help="lora-dist's dtype")
    parser.add_argument("--compile", action="store_true", help="try torch.compile for the peer, too (minutes)")
    parser.add_argument("--binary", default=str(PROJECT / "build/release/lora-dist"))
    parser.add_argument("--peer-python", default="python3", help="a Python with torch, transformers and peft")
    parser.add_argument("--peers-only", action="store_true", help="measure the peer's settings and stop")
    return parser.parse_args()


def say(label, text):
    print(f"{label:<7}{text}", flush=True)


def verdict(met):
    return "MET" if met else "MISSED"


class PeerTable:
    """Every setting of the peer on one case, each run once, and the best of them."""

    def __init__(self, case, options):
        self.rows = []
        settings = PEER_SETTINGS + (COMPILED_SETTINGS if options.compile else [])
        for variant, dtype in settings:
            peer = Peer(options.peer_python, variant, dtype)
            # A setting that is far behind need not be waited for: it cannot be the best.
            limit_s = 1.5 * min(row["wall_s"] for row in self.rows) if self.rows else None
            if limit_s and variant == "compiled":
                limit_s += COMPILING_S
            seen = peer.run(case, NUM_WARMUP + 2, limit_s)
            times = seen.step_times_s(NUM_WARMUP)
            self.rows.append({"peer": peer, "step_s": min(times) if times else float("inf"), "peak_gib": seen.peak_gib,
                              "wall_s": seen.step_ends_s[-1] if seen.step_ends_s and not seen.timed_out else limit_s})
            self._print(case, self.rows[-1])
        self.best = min(self.rows, key=lambda row: row["step_s"])["peer"]
        self.leanest_gib = min(row["peak_gib"] for row in self.rows if row["step_s"] < float("inf"))

    @staticmethod
    def _print(case, row):
        if row["step_s"] == float("inf"):
            say("peer", f"{row['peer'].name:<20} stopped: after 1.5 times the fastest setting's time")
        else:
            say("peer", f"{row['peer'].name:<20} {case.tokens_per_step / row['step_s']:6.0f} tokens/s"
                        f"  step {row['step_s']:6.2f} s  peak {row['peak_gib']:.2f} GiB")


def check_losses(ours, peer, dtype):
    """Prints the gate's line; False when the two sides do not train the same thing."""
    num_steps = min(len(ours), len(peer))
    difference, limit = largest_relative_difference(ours[:num_steps], peer[:num_steps]), GATE_LIMIT[dtype]
    same = num_steps > 0 and difference <= limit
    say("gate", f"loss max rel {difference:.1e} over {num_steps} steps (limit {limit:.0e})   {'PASS' if same else 'FAIL'}")
    if not same:
        for step, (a, b) in enumerate(zip(ours, peer), 1):
            say("", f"step {step}: ours {a:.7f} peer {b:.7f}")
    return same


def run_blocks(case, ours, peer, options):
    """A B B A blocks of whole processes. Returns one dict per block."""
    blocks = []
    for _ in range(options.blocks):
        seen = {ours: [], peer: []}
        for side in (ours, peer, peer, ours):
            seen[side].append(side.run(case, NUM_WARMUP + options.steps))
        medians = {side: [median(one.step_times_s(NUM_WARMUP)) for one in both] for side, both in seen.items()}
        blocks.append({
            "ratio": block_ratio(medians[ours], medians[peer]),
            "aa": medians[ours][0] / medians[ours][1],
            "ours_step_s": min(medians[ours]), "peer_step_s": min(medians[peer]),
            "ours_gib": max(one.peak_gib for one in seen[ours]), "peer_gib": min(one.peak_gib for one in seen[peer]),
            "foreign": max(one.foreign_cores for both in seen.values() for one in both)})
    return blocks


def product_rate(python):
    """{"dtype", "gflops"} of this machine's matrix products, best of a few shapes."""
    shown = subprocess.run([python, str(BENCH / "peers" / "product_rate.py"), "--threads", str(NUM_THREADS)], check=True,
                           capture_output=True, text=True)
    return json.loads(shown.stdout)


def report_share(case, ours, step_s, rates):
    """Prints how near the whole step comes to the rate of products measured before and after it; returns the share."""
    rate = max(rates, key=lambda one: one["gflops"])
    reached = ours.flops_per_step(case) / step_s / 1e9
    share = reached / rate["gflops"]
    say("share", f"{reached:.0f} of {rate['gflops']:.0f} GFLOP/s ({rate['dtype']} products alone): {share:.2f}"
                 f"   target >= {LEAST_SHARE:.2f}   {verdict(share >= LEAST_SHARE)}")
    return share


def report_case(case, blocks, leanest_gib):
    """Prints speed and memory of a case; returns the record, with "met"."""
    ratios = [block["ratio"] for block in blocks]
    low, high, word = interval(ratios)
    ours_s, peer_s = (min(block[key] for block in blocks) for key in ("ours_step_s", "peer_step_s"))
    ours_gib = max(block["ours_gib"] for block in blocks)
    peer_gib = min([leanest_gib] + [block["peer_gib"] for block in blocks])
    aa, foreign = [block["aa"] for block in blocks], max(block["foreign"] for block in blocks)
    speed_met, memory_met = low >= case.least_speed, ours_gib / peer_gib <= case.most_memory
    say("A/A", f"{min(aa):.3f} .. {max(aa):.3f} (ours against ours within a block)")
    say("speed", f"ours/peer {median(ratios):.2f}x {word} [{low:.2f}, {high:.2f}] n={len(blocks)}"
                 f"   target >= {case.least_speed:.2f}   {verdict(speed_met)}")
    say("", f"(context: {case.tokens_per_step / ours_s:.0f} against {case.tokens_per_step / peer_s:.0f} tokens/s)")
    say("memory", f"ours/peer {ours_gib / peer_gib:.2f}x ({ours_gib:.2f} against {peer_gib:.2f} GiB, the leanest peer)"
                  f"   target <= {case.most_memory:.2f}   {verdict(memory_met)}")
    if foreign > 0.05 * NUM_THREADS:
        say("noise", f"other processes kept up to {foreign:.2f} cores busy: repeat on a quiet machine before quoting")
    return {"case": case.name, "ratio": median(ratios), "low": low, "high": high, "interval": word, "ours_gib": ours_gib,
            "peer_gib": peer_gib, "blocks": blocks, "met": speed_met and memory_met}


def report_start(ours, peer):
    """Exec to the end of the first optimiser step with little to compute, warm caches (each side once before)."""
    times, cpu = {}, {}
    for side in (ours, peer):
        side.run(START_CASE, 1)
        runs = [side.run(START_CASE, 1) for _ in range(3)]
        times[side], cpu[side] = min(run.step_ends_s[0] for run in runs), min(run.first_step_cpu_s for run in runs)
    met = times[ours] <= TARGET_START_S
    say("start", f"exec to first step {times[ours]:.2f} s, peer {times[peer]:.1f} s: {times[peer] / times[ours]:.1f}x sooner"
                 f"   target <= {TARGET_START_S:.0f} s   {verdict(met)}")
    cpu_met = cpu[ours] <= TARGET_START_CPU_S and cpu[ours] <= TARGET_START_CPU * cpu[peer]
    say("", f"the same in CPU seconds, the step's among them: {cpu[ours]:.2f}, peer {cpu[peer]:.2f}: {cpu[ours] / cpu[peer]:.2f}x"
            f"   target <= {TARGET_START_CPU_S:.1f} s, {TARGET_START_CPU:.2f}x   {verdict(cpu_met)}")
    return {"case": "start", "ours_s": times[ours], "peer_s": times[peer], "ours_cpu_s": cpu[ours], "peer_cpu_s": cpu[peer],
            "met": met and cpu_met}


def measure_case(case, ours, options):
    """Returns (record, best peer); record is None when the gate failed or only peers were asked for."""
    case.write_inputs(options.peer_python)
    print(f"\ncase {case.name}: shape of {case.shape} (random weights), {case.title}")
    table = PeerTable(case, options)
    say("best", table.best.name)
    if options.peers_only:
        return None, table.best
    # The longer of gate and block, so that the first run also prepares the data for the timed ones.
    num_steps = max(options.gate_steps, NUM_WARMUP + options.steps)
    gate = [side.run(case, num_steps).losses for side in (ours, table.best)]
    # With dtype auto ours chooses; the bf16 limit holds unless both are fp32.
    dtype = "fp32" if table.best.dtype == "fp32" and options.dtype != "bf16" else "bf16"
    if not check_losses(*gate, dtype):
        sys.exit(GATE_FAILED)
    rates = [product_rate(options.peer_python)]
    blocks = run_blocks(case, ours, table.best, options)
    rates.append(product_rate(options.peer_python))
    record = report_case(case, blocks, table.leanest_gib)
    if case.all_labels:
        record["share"] = report_share(case, ours, min(block["ours_step_s"] for block in blocks), rates)
        record["met"] &= record["share"] >= LEAST_SHARE
    return record, table.best


def main():
    options = parse_arguments()
    libraries = describe_peer(options.peer_python)
    machine, commit = describe_machine(), describe_commit()
    print(f"lora-dist bench   commit {commit}   {machine['cores']} cores {machine['cpu']}, family {machine['family']} "
          f"model {machine['model']}, L1d {machine['l1d']}, {machine['vector']}")
    if not libraries:
        raise RuntimeError(f"{options.peer_python}: torch, transformers and peft not found; run scripts/bench_setup.sh, or "
                           "set BENCH_PYTHON to a Python that has them")
    print("peer   " + "  ".join(f"{name} {version}" for name, version in libraries.items()))
    ours = Ours(options.binary, options.dtype)
    records, best = [], None
    for name in options.case or CASES:
        record, best = measure_case(CASES[name], ours, options)
        records += [record] if record else []
    if not options.peers_only:
        print()
        START_CASE.write_inputs(options.peer_python)
        records.append(report_start(ours, best))
    for output in RUNS.glob("*/output"):
        shutil.rmtree(output)
    with open(PROJECT / ".cache/bench/results.jsonl", "a") as results:
        results.write(json.dumps({"time": time.time(), "commit": commit, "machine": machine, "peer": libraries,
                                  "best_peer": best.name, "records": records}) + "\n")
    sys.exit(0 if all(record["met"] for record in records) else MISSED)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(NOT_RUN)
