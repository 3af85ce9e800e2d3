"""The dates of a place that make a chip: the earliest that fit, and no date twice."""

from slipway.data.imagery.chip import Date
from slipway.data.imagery.scenes.bands import ordinal


class Series:
    """The dates that are chosen for the next chip of a place. Dates are offered in the order of time.

    The first usable date begins a chip; each next one is the first usable date at least gap_days[0] later. If more than
    gap_days[1] days have passed, the chip is given up, and a new one begins with the date that is offered. A full chip
    is handed over, and the next begins with the next date: so no date is in two chips of a place.
    """

    def __init__(self, num_frames: int, gap_days: tuple[int, int]) -> None:
        self.num_frames, self.gap_days = num_frames, gap_days
        self.dates: list[Date] = []
        self.last: Date | None = None

    def frame(self, date: Date) -> int | None:
        """Return the frame that this date would fill; None if it is too soon."""
        assert self.last is None or date > self.last, f"{date} is offered after {self.last}"
        gap = ordinal(date) - ordinal(self.dates[-1]) if self.dates else None
        if gap is None or gap > self.gap_days[1]:
            return 0
        return len(self.dates) if gap >= max(1, self.gap_days[0]) else None

    def take(self, date: Date) -> tuple[Date, ...] | None:
        """Choose a date that has a frame; return the dates of the chip if that fills it, else None."""
        frame = self.frame(date)
        assert frame is not None
        self.dates = [*self.dates[:frame], date]
        self.last = date
        if len(self.dates) < self.num_frames:
            return None
        full, self.dates = tuple(self.dates), []
        return full
