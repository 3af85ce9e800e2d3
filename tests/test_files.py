"""Files that appear whole or not at all."""

from pathlib import Path

import pytest

from slipway.files import whole, write_whole


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_whole(path, "old\n")
    write_whole(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(KeyError), whole(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_not_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    with whole(path) as beside:
        beside.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
