"""Pictures on disk: what is written is what others read, and what is damaged is told."""

import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slipway.metrics import pictures, png


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_other_programs_read_pixels_and_caption(height: int, width: int, seed: int, caption: str) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    content = png.encode(pixels, caption)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert (np.asarray(image) == pixels).all() and image.mode == "RGB"
        assert image.text["Description"] == caption  # type: ignore[attr-defined]
    assert png.caption(content) == caption


@given(st.data())
def test_a_torn_file_is_no_picture(data: st.DataObject) -> None:
    content = png.encode(np.zeros((3, 4, 3), np.uint8), "a caption")
    with pytest.raises(ValueError, match="no"):
        png.caption(content[: data.draw(st.integers(0, len(content) - 13))])


def test_anothers_picture_has_no_caption(tmp_path: Path) -> None:
    matplotlib.image.imsave(tmp_path / "other.png", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="no caption"):
        png.caption((tmp_path / "other.png").read_bytes())


def test_pictures_are_found_by_step(tmp_path: Path) -> None:
    assert pictures.found(tmp_path) == []
    pixels = np.full((2, 3, 3), 7, np.uint8)
    for step in (100, 20, 100_000_000):
        pictures.write(tmp_path, step, pixels, f"step {step}")
    (tmp_path / "pictures" / ".step-00000300.png.17.tmp").write_bytes(b"")
    (tmp_path / "pictures" / "notes.txt").write_text("of somebody's")
    assert [(one.step, one.read()[1]) for one in pictures.found(tmp_path)] == [
        (step, f"step {step}") for step in (20, 100, 100_000_000)
    ]
    assert (matplotlib.image.imread(pictures.path(tmp_path, 20)) * 255 == pixels).all()
