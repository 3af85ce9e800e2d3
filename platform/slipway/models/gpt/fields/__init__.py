"""The fields of a GPT by subject, which slipway.models.gpt.config combines. Names are Megatron-core's."""
