"""Muon for hidden matrices, AdamW for all other parameters.

Muon orthogonalizes the momentum by Newton-Schulz (https://kellerjordan.github.io/posts/muon/, arXiv 2502.16982).
"""
