"""Text: documents, a tokenizer, Megatron-core's indexed data."""
