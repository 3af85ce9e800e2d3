"""The model of a step: seconds by part, from what layers compute and exchange and from what the hardware can do."""
