"""What is counted while data is prepared is the kind's affair."""

import sys

import pytest

from slipway.data import progress


@pytest.mark.parametrize("counted", [("documents", "tokens"), ("chips",)])
def test_lines(
    counted: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", 0)
    with progress.show_progress(True, 3000, counted) as shown:
        shown.phase("cutting")
        for fresh in (True, False):
            shown.advance(1500, dict.fromkeys(counted, 7) | {"more": 1}, fresh)
    assert (
        isinstance(shown, progress._Lines) and shown.fresh == 7
    )  # what an earlier call did takes no time now
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert not out and len(lines) == 4 and all(line.startswith("data: ") for line in lines)
    assert "2.93 KiB of 2.93 KiB, " + ", ".join(f"14 {name}" for name in counted) in lines[-1]
    assert f" {counted[-1]}/s; cutting " in lines[-1]


def test_a_bar_is_for_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.show_progress(True, 3000, ("scenes", "chips")) as shown:
        shown.phase("cutting")
        shown.advance(3000, {"scenes": 2, "chips": 9}, True)
    assert isinstance(shown, progress._Bar) and "2 scenes" in shown.short() and "chips/s" in shown.short()


def test_nothing_unless_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress(False, 3000, ("chips",)) as shown:
        shown.phase("cutting")
        shown.advance(3000, {"chips": 9}, True)
    assert capsys.readouterr() == ("", "")
