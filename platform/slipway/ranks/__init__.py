"""The ranks of a run: who starts them, where each stands, how they meet, and what ends them. Imports no torch."""
