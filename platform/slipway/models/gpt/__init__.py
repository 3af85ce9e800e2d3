"""GPT: decoder-only language models, from GPT-3 to Llama and Mixtral."""
