"""The verdict on a SIF, for every combination of signature, label and question."""

from pathlib import Path

import pytest

from slipway.image.sif import DIGEST_LABEL
from slipway.image.verify import judge, sign_command, verify_command

SIF = Path("a.sif")
ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("signed", "label", "digest", "good", "words"),
    [
        (True, ONE, ONE, True, "verified: signature good, made from the image sha256:111"),
        (True, ONE, None, True, "signature good; it was made from the image sha256:111"),
        (True, ONE, OTHER, False, "NOT VERIFIED: it was made from the image sha256:111"),
        (True, None, ONE, False, "NOT VERIFIED: signed, but it has no label"),
        (False, ONE, ONE, False, "NOT VERIFIED: its signature is missing, by another key, or broken"),
    ],
)
def test_verdict(signed: bool, label: str | None, digest: str | None, good: bool, words: str) -> None:
    verdict = judge(SIF, signed, {DIGEST_LABEL: label} if label else {}, digest)
    assert verdict.good is good
    assert words in verdict.line and "\n" not in verdict.line


def test_every_object_is_verified() -> None:
    assert verify_command(SIF, Path("k")) == ["apptainer", "verify", "--all", "--key", "k", "a.sif"]
    assert sign_command(SIF, None) == ["apptainer", "sign", "a.sif"]
