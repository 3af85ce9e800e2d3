"""Image time series of the Earth's surface: scenes are cut to chips once, training reads chips."""
