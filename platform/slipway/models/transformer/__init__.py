"""Transformer layers of Megatron-core, shared by the families that are built from them; no family imports another."""
