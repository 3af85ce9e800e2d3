"""Masked auto-encoders of image time series: He et al. 2022, arXiv 2111.06377; as in Prithvi-EO-2.0, 2412.02732."""
