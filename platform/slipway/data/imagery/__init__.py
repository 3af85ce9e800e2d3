"""Image time series of the Earth's surface: scenes are cut into chips once, and training reads the chips."""
