import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.host_lists import expand, fold, of_ranks, ranges


@pytest.mark.parametrize(
    ("names", "expanded"),
    [
        ("n1", ["n1"]),
        ("n[1-3],m", ["n1", "n2", "n3", "m"]),
        ("jwb[0009-0011,0020]", ["jwb0009", "jwb0010", "jwb0011", "jwb0020"]),
        ("r[1-2]c[3,5]", ["r1c3", "r1c5", "r2c3", "r2c5"]),
        ("nid[001-002]-hsn", ["nid001-hsn", "nid002-hsn"]),
    ],
)
def test_names_are_expanded_as_slurm_does(names: str, expanded: list[str]) -> None:
    assert expand(names) == expanded


def test_names_are_folded() -> None:
    assert fold(["n2", "n1", "n4", "login"]) == "n[1-2,4],login"
    assert fold(["jwb0009", "jwb0010"]) == "jwb[0009-0010]"
    assert fold(["n1"]) == "n1"
    assert fold([]) == ""
    assert ranges([3, 1, 2, 9]) == "1-3,9"


@given(st.lists(st.from_regex(r"[a-z]{1,3}(0[0-9]{3}|[1-9][0-9]{0,3}){0,1}", fullmatch=True), max_size=12))
def test_what_is_folded_can_be_expanded(names: list[str]) -> None:
    assert sorted(expand(fold(names))) == sorted(set(names))


def test_nodes_of_ranks() -> None:
    assert of_ranks("n[1-3]", "2(x2),1") == ["n1", "n1", "n2", "n2", "n3"]
    assert of_ranks("n[1-3]", "2") == []
