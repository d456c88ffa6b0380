"""The rate of this machine's matrix products through PyTorch: what a step can at most approach.

Prints one JSON object: the faster of fp32 and bf16, its best GFLOP/s over shapes of the bench and a large square.
"""

import argparse
import json
import time

import torch

SHAPES = [(2048, 576, 1536), (2048, 2048, 2048), (4096, 4096, 4096)]  # (rows, depth, columns)
NUM_REPEATS = 6


def best_rate(dtype):
    best = 0.0
    for rows, depth, columns in SHAPES:
        x, weight = torch.randn(rows, depth).to(dtype), torch.randn(columns, depth).to(dtype)
        for _ in range(NUM_REPEATS):
            started = time.perf_counter()
            torch.mm(x, weight.t())
            best = max(best, 2e-9 * rows * depth * columns / (time.perf_counter() - started))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, required=True)
    torch.set_num_threads(parser.parse_args().threads)
    rates = {"fp32": best_rate(torch.float32)}
    # Without bf16 units bf16 products take ten times as long: not worth the wait.
    if any(flag in open("/proc/cpuinfo").read() for flag in ("avx512_bf16", "amx_bf16")):
        rates["bf16"] = best_rate(torch.bfloat16)
    dtype = max(rates, key=rates.get)
    print(json.dumps({"dtype": dtype, "gflops": rates[dtype]}))


main()
