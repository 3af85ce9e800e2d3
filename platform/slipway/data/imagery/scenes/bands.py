"""The names of the bands of each product; products number bands differently."""

import re

from slipway.data.imagery.chip import Date

_SENTINEL2 = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "red_edge_1",
    "B06": "red_edge_2",
    "B07": "red_edge_3",
    "B08": "nir_broad",
    "B8A": "nir_narrow",
    "B09": "water_vapour",
    "B10": "cirrus",
    "B11": "swir_1",
    "B12": "swir_2",
}
HLS = {
    "L30": {
        "B01": "coastal",
        "B02": "blue",
        "B03": "green",
        "B04": "red",
        "B05": "nir_narrow",
        "B06": "swir_1",
        "B07": "swir_2",
        "B09": "cirrus",
        "B10": "thermal_1",
        "B11": "thermal_2",
        "Fmask": "fmask",
    },
    "S30": {**_SENTINEL2, "Fmask": "fmask"},
}
SENTINEL2 = {**_SENTINEL2, "SCL": "scl"}
SENTINEL2_ORDER = tuple(_SENTINEL2)
"""The bands by their number (band_id) in a product's metadata."""
MASKS = ("fmask", "scl")

_DATES = (
    (re.compile(r"(?<!\d)(\d{4})(\d{3})T\d{6}(?!\d)"), "day"),
    (re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)(?:T[\d:.]+Z?)?"), "month"),
    (re.compile(r"(?<!\d)(\d{4})_(\d{2})_(\d{2})(?!\d)"), "month"),
    (re.compile(r"(?<!\d)((?:19|20)\d{2})(\d{2})(\d{2})(?!\d)(?:T\d{6})?"), "month"),
    (re.compile(r"(?<!\d)((?:19|20)\d{2})(\d{3})(?!\d)"), "day"),
)


def date_in(text: str) -> tuple[Date, str] | None:
    """Return the first date in a name (yyyy-mm-dd, yyyymmdd or yyyyddd, maybe with a time), and the name without it.

    None if the name has no date.
    """
    for pattern, kind in _DATES:
        for match in pattern.finditer(text):
            numbers = [int(group) for group in match.groups()]
            if date := (date_of(*numbers) if kind == "month" else day_of(*numbers)):
                return date, text[: match.start()] + text[match.end() :]
    return None


def date_of(year: int, month: int, day: int) -> Date | None:
    """Return a day of the calendar; None if there is no such day."""
    import datetime

    try:
        return Date(year, datetime.date(year, month, day).timetuple().tm_yday)
    except ValueError:
        return None


def day_of(year: int, day: int) -> Date | None:
    """Return a day by its number in the year; None if there is no such day."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return Date(year, day) if year > 0 and 1 <= day <= 365 + leap else None


def ordinal(date: Date) -> int:
    """Return the day's number in the calendar, by which days are subtracted."""
    import datetime

    return datetime.date(date.year, 1, 1).toordinal() + date.day_of_year - 1


def iso(date: Date) -> str:
    """Return the day as yyyy-mm-dd."""
    import datetime

    return datetime.date.fromordinal(ordinal(date)).isoformat()
