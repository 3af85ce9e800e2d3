"""Scenes by the names of their files: HLS and Sentinel-2 by granule, rasters and cubes by file."""

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from slipway.data.imagery.chip import Date
from slipway.data.imagery.scenes.bands import HLS, SENTINEL2, SENTINEL2_ORDER, date_in, date_of, day_of
from slipway.data.imagery.scenes.model import BadScene, Candidate, Format
from slipway.data.inputs import FoundFile

_HLS = re.compile(
    r"(?P<granule>HLS\.(?P<sensor>[LS]30)\.T(?P<tile>\d\d[A-Z]{3})\.(?P<year>\d{4})(?P<day>\d{3})T\d{6}\.v[\d.]+)"
    r"\.(?P<band>B\w\w|Fmask)\.tiff?",
    re.ASCII,
)
_SENTINEL2 = re.compile(
    r"(?:L2A_)?T(?P<tile>\d\d[A-Z]{3})_(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)T(?P<time>\d{6})_"
    r"(?P<band>B\d[\dA]|SCL)(?:_(?P<resolution>\d\d)m)?\.(?:jp2|tiff?)",
    re.ASCII,
)
_SAFE = re.compile(r"(?P<satellite>S2[A-Z])_MSIL2A_\d{8}T\d{6}_N(?P<baseline>\d{4})_.*", re.ASCII)
METADATA = "MTD_MSIL2A.xml"
RASTERS = (".tif", ".tiff")
CUBES = (".nc", ".zarr")


class Skipped(NamedTuple):
    """A scene that is not used."""

    path: str
    reason: str


class Found(NamedTuple):
    """The scenes that file names tell, and those that are bad."""

    candidates: list[Candidate]
    bad: list[Skipped]


def format_of(name: str) -> Format | None:
    """Return the format of a file, or of a Zarr folder, by its name; None if it has none that is known."""
    base = os.path.basename(name)
    if _HLS.fullmatch(base):
        return "hls"
    if _SENTINEL2.fullmatch(base):
        return "sentinel2"
    if base.endswith(RASTERS):
        return "raster"
    return "cube" if base.endswith(CUBES) else None


def find_hls(files: Sequence[FoundFile], bands: Sequence[str], resolution: float | None) -> Found:
    """Return granules of HLS 2.0: HLS.L30.T32UMV.2021123T103021.v2.0.B02.tif and its siblings, in any folders."""
    granules: dict[tuple[str, str], list[tuple[str, FoundFile]]] = {}
    named: dict[str, re.Match[str]] = {}
    found = Found([], [])
    for file in files:
        match = _HLS.fullmatch(os.path.basename(file.name))
        if match is None:
            if other := _unlike(file, "HLS.L30.T32UMV.2021123T103021.v2.0.B02.tif"):
                found.bad.append(other)
            continue
        key = match["granule"], os.path.dirname(file.path)
        granules.setdefault(key, []).append((HLS[match["sensor"]].get(match["band"], ""), file))
        named[match["granule"]] = match
    for (name, folder), members in sorted(granules.items()):
        match = named[name]
        path = os.path.join(folder, name)
        date = day_of(int(match["year"]), int(match["day"]))
        _add(
            found, name, path, match["tile"], date, "hls", members, bands, (), sum(f.size for _, f in members)
        )
    return found


def find_sentinel2(files: Sequence[FoundFile], bands: Sequence[str], resolution: float | None) -> Found:
    """Return products of Sentinel-2 L2A: SAFE folders, or folders with its files and its MTD_MSIL2A.xml.

    A band in several resolutions is read at `resolution` if it has that, else at its finest.
    """
    found = Found([], [])
    metadata = {os.path.dirname(file.path): file for file in files if os.path.basename(file.name) == METADATA}
    products: dict[tuple[str, str], dict[str, tuple[float, FoundFile]]] = {}
    named: dict[tuple[str, str], re.Match[str]] = {}
    for file in files:
        match = _SENTINEL2.fullmatch(os.path.basename(file.name))
        if match is None:
            if other := _unlike(file, "T32UMV_20210503T102021_B02_10m.jp2"):
                found.bad.append(other)
            continue
        folder = next((f for f in _parents(file.path) if f in metadata), os.path.dirname(file.path))
        key = (f"T{match['tile']}_{match['year']}{match['month']}{match['day']}T{match['time']}", folder)
        named[key] = match
        pixel = float(match["resolution"] or 0)
        of_product = products.setdefault(key, {})
        band = SENTINEL2[match["band"]]
        wanted = (pixel != resolution, pixel)
        if band not in of_product or wanted < (of_product[band][0] != resolution, of_product[band][0]):
            of_product[band] = pixel, file
    for (name, folder), members in sorted(products.items()):
        match = named[name, folder]
        date = date_of(int(match["year"]), int(match["month"]), int(match["day"]))
        try:
            offsets, baseline = _offsets(metadata.get(folder), bands)
        except BadScene as error:
            found.bad.append(Skipped(folder, str(error)))
            continue
        satellite = _SAFE.match(os.path.basename(folder))
        full = f"{satellite['satellite'] if satellite else 'S2'}_{name}_N{baseline}"
        of_bands = [(band, file) for band, (_, file) in sorted(members.items())]
        size = sum(file.size for band, file in of_bands if band in (*bands, "scl"))
        _add(found, full, folder, match["tile"], date, "sentinel2", of_bands, bands, offsets, size)
    return found


def find_rasters(files: Sequence[FoundFile], bands: Sequence[str], resolution: float | None) -> Found:
    """Return one GeoTIFF for each date; the rest of its path names the place."""
    found = Found([], [])
    for file in files:
        stem = os.path.splitext(file.name)[0]
        dated = date_in(stem)
        if dated is None:
            found.bad.append(Skipped(file.path, "has no date in its name, as in fields_2021-05-03.tif"))
            continue
        date, rest = dated
        tile = rest.strip("_-. /") or "."
        candidate = Candidate(stem, file.path, tile, date, "raster", (("", file.path),), (), file.size)
        found.candidates.append(candidate)
    return found


def find_cubes(files: Sequence[FoundFile], bands: Sequence[str], resolution: float | None) -> Found:
    """Return Zarr folders and NetCDF files; their scenes are known once they are opened."""
    whole: dict[str, tuple[str, int]] = {}
    for file in files:
        parts = file.path.split(os.sep)
        end = next((i + 1 for i, part in enumerate(parts) if part.endswith(CUBES)), len(parts))
        deeper = len(parts) - end
        name = os.sep.join(file.name.split(os.sep)[: len(file.name.split(os.sep)) - deeper]) or parts[end - 1]
        path = os.sep.join(parts[:end])
        whole[path] = name, whole.get(path, ("", 0))[1] + file.size
    candidates = [
        Candidate(name, path, name, None, "cube", (("", path),), (), size)
        for path, (name, size) in sorted(whole.items())
    ]
    return Found(candidates, [])


FINDERS: dict[Format, Callable[[Sequence[FoundFile], Sequence[str], float | None], Found]] = {
    "hls": find_hls,
    "sentinel2": find_sentinel2,
    "raster": find_rasters,
    "cube": find_cubes,
}


def _add(
    found: Found,
    name: str,
    path: str,
    tile: str,
    date: Date | None,
    format: Format,
    members: Sequence[tuple[str, FoundFile]],
    bands: Sequence[str],
    offsets: tuple[tuple[str, float], ...],
    size: int,
) -> None:
    """Add a granule to what was found, or to the bad ones, with the reason."""
    mask = "fmask" if format == "hls" else "scl"
    files = {band: file.path for band, file in members if band in (*bands, mask)}
    missing = [band for band in (*bands, mask) if band not in files]
    if date is None:
        found.bad.append(Skipped(path, "has a date in its name that is in no calendar"))
    elif missing:
        found.bad.append(Skipped(path, f"lacks {', '.join(missing)}"))
    else:
        candidate = Candidate(name, path, tile, date, format, tuple(sorted(files.items())), offsets, size)
        found.candidates.append(candidate)


def _unlike(file: FoundFile, example: str) -> Skipped | None:
    """Return a raster whose name does not fit the product as skipped, else None."""
    if not file.name.endswith((*RASTERS, ".jp2")) or os.path.basename(file.name).startswith("T"):
        return None
    return Skipped(file.path, f"is not named as a band of a granule, as in {example}")


def _parents(path: str) -> list[str]:
    parents = []
    while (above := os.path.dirname(path)) != path:
        parents.append(path := above)
    return parents


def _offsets(metadata: FoundFile | None, bands: Sequence[str]) -> tuple[tuple[tuple[str, float], ...], str]:
    """Return BOA_ADD_OFFSET of each band, 0 before processing baseline 04.00, and the baseline.

    Raises BadScene if the metadata is missing, not valid or incomplete.
    """
    from xml.etree import ElementTree

    if metadata is None:
        raise BadScene(f"lacks {METADATA}, which tells the offset of its reflectances")
    try:
        root = ElementTree.parse(metadata.path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise BadScene(f"has an {METADATA} that cannot be read: {error}") from error
    texts: dict[str, str] = {}
    by_band: dict[str, float] = {}
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        texts.setdefault(tag, (element.text or "").strip())
        if tag == "BOA_ADD_OFFSET":
            number = element.get("band_id", "")
            if not number.isdigit() or int(number) >= len(SENTINEL2_ORDER):
                raise BadScene(f"has a BOA_ADD_OFFSET without a valid band_id in {METADATA}")
            by_band[SENTINEL2[SENTINEL2_ORDER[int(number)]]] = float(element.text or "nan")
    baseline = texts.get("PROCESSING_BASELINE", "")
    if not re.fullmatch(r"\d\d\.\d\d", baseline):
        raise BadScene(f"has no PROCESSING_BASELINE in {METADATA}")
    if texts.get("BOA_QUANTIFICATION_VALUE", "10000") not in ("10000", "10000.0"):
        raise BadScene(f"has a BOA_QUANTIFICATION_VALUE other than 10000 in {METADATA}")
    if float(baseline) >= 4.0 and not all(band in by_band for band in bands):
        raise BadScene(f"is of processing baseline {baseline}, but lacks BOA_ADD_OFFSET in {METADATA}")
    return tuple((band, by_band[band]) for band in bands if by_band.get(band)), baseline.replace(".", "")
