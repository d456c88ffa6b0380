"""Arithmetic of a comparison: ratios of alternating blocks, their interval, the equality gate."""

from statistics import geometric_mean, median

# Order statistics (lowest, highest rank, 0-based) of a sample of n whose interval covers the median with about 95 %.
# Below 6 blocks there is none; the range is printed and called that.
COVERING_RANKS = {6: (0, 5), 8: (0, 7), 10: (1, 8), 12: (2, 9), 20: (5, 14), 40: (13, 26)}


def block_ratio(ours_s, peer_s):
    """Speed of ours / peer in one A B B A block, from two median step times a side."""
    return geometric_mean(peer_s) / geometric_mean(ours_s)


def interval(values):
    """(low, high, word): the interval of the median, or the plain range where there are too few values."""
    ordered = sorted(values)
    usable = [n for n in COVERING_RANKS if n <= len(ordered)]
    if not usable:
        return ordered[0], ordered[-1], "range"
    low, high = COVERING_RANKS[max(usable)]
    if len(ordered) != max(usable):  # between two entries: keep the ranks' distance to the ends
        high = len(ordered) - 1 - low
    return ordered[low], ordered[high], "interval"


def largest_relative_difference(ours, peer):
    return max(abs(a - b) / abs(b) for a, b in zip(ours, peer))


__all__ = ["block_ratio", "interval", "largest_relative_difference", "median"]
