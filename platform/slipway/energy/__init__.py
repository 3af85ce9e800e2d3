"""The energy that machines count themselves: who counts, and how counts become joules. Needs no torch."""
