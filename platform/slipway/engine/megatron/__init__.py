"""Everything that is Megatron-core's: groups, wrapped models, optimizer, sharded state, the CPU adapter, patches."""
