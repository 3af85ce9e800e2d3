"""Dates of a place, chosen for chips."""

import datetime

from hypothesis import given
from hypothesis import strategies as st

from slipway.data.imagery.chip import Date
from slipway.data.imagery.scenes.bands import date_in, iso, ordinal
from slipway.data.imagery.scenes.dates import Series


def date(day: int) -> Date:
    when = datetime.date.fromordinal(737000 + day)
    return Date(when.year, when.timetuple().tm_yday)


@given(
    st.sets(st.integers(0, 800), max_size=60),
    st.integers(1, 4),
    st.integers(0, 60),
    st.integers(1, 120),
)
def test_no_date_is_paired_twice_and_gaps_are_kept(
    days: set[int], frames: int, least: int, span: int
) -> None:
    series, gap_days = Series(frames, (least, least + span)), (least, least + span)
    offered = [date(day) for day in sorted(days)]
    chips = []
    for one in offered:
        if series.frame(one) is not None and (full := series.take(one)):
            chips.append(full)
    used = [ordinal(one) for chip in chips for one in chip]
    assert len(used) == len(set(used)) and used == sorted(used)
    for chip in chips:
        assert len(chip) == frames
        for before, after in zip(chip, chip[1:], strict=False):
            assert max(1, gap_days[0]) <= ordinal(after) - ordinal(before) <= gap_days[1]
    # a gap that is always right loses no date
    if least <= 1 and offered and ordinal(offered[-1]) - ordinal(offered[0]) <= gap_days[1]:
        assert len(chips) == len(offered) // frames


def test_a_gap_that_is_too_long_begins_anew() -> None:
    series = Series(3, (30, 90))
    frames = [(day, series.frame(date(day))) for day in (0,)]
    for day in (0, 20, 40, 200, 240, 280):
        frame = series.frame(date(day))
        frames.append((day, frame))
        full = series.take(date(day)) if frame is not None else None
    assert frames[1:] == [(0, 0), (20, None), (40, 1), (200, 0), (240, 1), (280, 2)]
    assert full == (date(200), date(240), date(280))


@given(st.dates(datetime.date(1990, 1, 1), datetime.date(2060, 12, 31)))
def test_dates_in_names(day: datetime.date) -> None:
    expected = Date(day.year, day.timetuple().tm_yday)
    for spelled in ("%Y-%m-%d", "%Y%m%d", "%Y%j", "%Y_%m_%d", "%Y%m%dT101021", "%Y%jT101021"):
        found = date_in(f"fields_{day.strftime(spelled)}_x")
        assert found == (expected, "fields__x"), spelled
    assert iso(expected) == day.isoformat() and ordinal(expected) == day.toordinal()


def test_no_dates_in_names() -> None:
    for name in ("fields", "fields_2021-13-45", "f_20211345", "f_2021400", "T32UMV", "12345678901"):
        assert date_in(name) is None, name
