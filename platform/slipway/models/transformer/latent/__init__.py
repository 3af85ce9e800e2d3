"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): everything that a layer needs for it.

Queries come from a latent state of q_lora_rank numbers, keys and values from one of kv_lora_rank, each normalized; a
further qk_pos_emb_head_dim numbers of a token are the part of its keys that positions rotate, the same for all heads.
The down-projections to the latent states are whole on every tensor-parallel rank and take its part of the sequence; the
up-projections from them are split by heads.

In checkpoints a head's rows are qk_head_dim without positions, then qk_pos_emb_head_dim with positions; in
linear_kv_up_proj qk_head_dim of its keys, then v_head_dim of its values; linear_kv_down_proj has the latent state's
rows first. Of the rotated rows, 2i and 2i + 1 are a pair: Megatron-core itself moves the even ones before the odd ones.
This is the order of the published DeepSeek-V2 and V3 weights (rope_interleave in transformers), so that no row needs to
be moved.
"""
