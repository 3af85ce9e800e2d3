"""Conversations for fine-tuning: the loss counts the assistant's words only (see docs/chat.md)."""
