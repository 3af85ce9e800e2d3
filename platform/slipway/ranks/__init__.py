"""The ranks of a run: who starts them, which place each has, how they meet, and what ends them. Imports no torch."""
