"""A run's checkpoints: write, load, list, verify, show. Listing, verifying and showing need no torch."""
