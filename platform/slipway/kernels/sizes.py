"""Sizes that kernels and the memory in a plan have in common. Imports no torch."""

# Tokens whose logits the cross entropy holds at a time. CPU: measured, they stay near the caches. Elsewhere: each
# chunk in bf16 adds a product of the weight's size to an fp32 sum, 10 bytes per weight, which should be little
# beside its three matrix products.
LOSS_CHUNK = {"cpu": 512, "cuda": 2048}
