"""Attention, norms and linear layers that model families are built from; which ones, the machine decides."""
