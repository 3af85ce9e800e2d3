"""Muon for hidden matrices, AdamW for all other parameters.

Momentum orthogonalized by Newton-Schulz (https://kellerjordan.github.io/posts/muon/, arXiv 2502.16982).
"""
