"""Scenes as archives distribute them: found by name, checked by header, read band by band, cut into chips.

Only the processes that prepare import `inspect`, `rasters`, `cube` and `cut`, with rasterio or xarray; a process that
trains never loads GDAL.
"""
