"""The fields of a GPT by subject, which slipway.models.gpt.config puts together. Names are Megatron-core's."""
