"""Shards that look like TerraMesh's, written by hand: a tar of zip files, each a Zarr group of version 2.

As the data set's own files: stored, not compressed, in the zip; `.zmetadata` beside the arrays' own; one chunk of
`bands`; a chunk that would hold the fill value alone is left out.
"""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
TIME = 1_596_240_000_000_000_000  # ns: 2020-08-01


def member(
    pixels: np.ndarray,
    time: int = TIME,
    latitude: float = 48.1,
    longitude: float = 11.6,
    compressor: dict[str, Any] | None = BLOSC,
    fill: Any = 0,
    dates_per_chunk: int | None = None,
    zipped: int = zipfile.ZIP_STORED,
) -> bytes:
    """One sample. pixels: [dates, bands, rows, columns]."""
    dates, _, rows, columns = pixels.shape
    arrays = {
        "bands": (pixels, (dates_per_chunk or dates, *pixels.shape[1:]), fill),
        "center_lat": (np.array(latitude), (), None),
        "center_lon": (np.array(longitude), (), None),
        "cloud_mask": (np.zeros((dates, rows, columns), np.uint8), (dates, rows, columns), 0),
        "crs": (np.array(32632), (), None),
        "time": (np.array([time + 86_400_000_000_000 * k for k in range(dates)]), (dates,), None),
        "file_id": (np.array([f"S2A_{k}" for k in range(dates)], "S16"), (dates,), None),
        "x": (np.arange(columns) * 10.0 + 5, (columns,), None),
        "y": (-np.arange(rows) * 10.0 - 5, (rows,), None),
    }
    entries: dict[str, bytes] = {".zgroup": b'{"zarr_format": 2}', ".zattrs": b"{}"}
    metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
    for name, (values, chunks, nothing) in arrays.items():
        packed = compressor if name in ("bands", "cloud_mask") else None
        of_array = {
            "chunks": list(chunks),
            "compressor": packed,
            "dtype": values.dtype.str,
            "fill_value": "NaN" if nothing is not None and nothing != nothing else nothing,
            "filters": None,
            "order": "C",
            "shape": list(values.shape),
            "zarr_format": 2,
        }
        axes = {"bands": ["time", "band", "y", "x"], "cloud_mask": ["time", "y", "x"]}
        attributes = {"_ARRAY_DIMENSIONS": axes.get(name, [name] if values.ndim else [])}
        metadata |= {f"{name}/.zarray": of_array, f"{name}/.zattrs": attributes}
        for start in range(0, len(values) if values.ndim else 1, chunks[0] if chunks else 1):
            part = values[start : start + chunks[0]] if values.ndim else values
            if nothing is not None and np.all((part == nothing) | ((part != part) & (nothing != nothing))):
                continue
            key = ".".join([str(start // chunks[0]), *["0"] * (values.ndim - 1)]) if values.ndim else "0"
            data = np.ascontiguousarray(part)
            codec: Any = numcodecs.get_codec(packed) if packed else None
            entries[f"{name}/{key}"] = bytes(codec.encode(data)) if codec else data.tobytes()
    entries[".zmetadata"] = json.dumps({"metadata": metadata, "zarr_consolidated_format": 1}).encode()
    entries |= {
        name: json.dumps(value).encode()
        for name, value in metadata.items()
        if name.endswith((".zarray", "/.zattrs"))
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipped) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    """A tar archive of samples by key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, data in members.items():
            info = tarfile.TarInfo(f"{key}.zarr.zip")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
