"""Energy that machines count themselves: which counters exist, and how counts become joules. Needs no torch."""
