"""What computes: Megatron-core stands behind one interface, in a room of its own."""
