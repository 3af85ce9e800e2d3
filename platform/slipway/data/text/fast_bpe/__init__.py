"""Byte-level BPE for many documents at a time."""
