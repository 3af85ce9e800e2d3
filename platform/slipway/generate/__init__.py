"""`slipway generate`: let the model of a run continue texts, or chat with it."""
