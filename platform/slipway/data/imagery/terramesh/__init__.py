"""Shards of TerraMesh, and of others of its kind, read as they are: a Zarr array in a zip file in a tar archive.

Preparation of a source whose format is `terramesh` is `source.survey`, before anything is written, and
`source.prepare`, which leaves an index of each split. Training reads by the index alone (`chips`).
"""
