"""Sizes that kernels share with the plan's memory model. Imports no torch."""

# Tokens whose logits the cross entropy holds at a time. CPU: measured; so few stay close to the caches. Elsewhere: each
# chunk in bf16 adds a product of the weight's size to an fp32 sum, 10 bytes per weight, which should be little compared
# with its three matrix products.
LOSS_CHUNK = {"cpu": 512, "cuda": 2048}

# The widest row that the norms in Triton take. A program holds one, as a power of two of elements, in the registers of
# at most 1,024 threads; of wider ones the compiler would put a part into memory (tests/kernels/test_triton.py).
NORM_WIDTH = {"RMSNorm": 16384, "LayerNorm": 8192}

# The fewest queries that torch's attention in a sliding window takes at once (slipway.kernels.windows): with fewer,
# launching kernels would cost more than skipping keys saves.
WINDOW_QUERIES = 256


def window_pairs(length: int, window: int) -> int:
    """Return the pairs of a query and a key that these chunks compute for a sequence.

    Flash kernels skip half of a square.
    """
    step = max(window, WINDOW_QUERIES)
    first = min(step, length)
    rest = length - first
    return first**2 // (2 if first <= window else 1) + rest * (step + window)
