"""What families built of Megatron-core's transformer layers share; no family imports another."""
