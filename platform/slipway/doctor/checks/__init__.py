"""What is looked at on one node."""
