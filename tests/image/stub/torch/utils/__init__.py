"""Of a torch in name only."""
