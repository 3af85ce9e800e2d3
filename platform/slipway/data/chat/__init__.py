"""Conversations, for fine-tuning: the loss is of the assistant's words only (see docs/chat.md)."""
