"""Of a stub of apex."""
