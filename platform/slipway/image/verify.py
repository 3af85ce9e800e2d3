"""Verification that a SIF is what was signed, and that it was made from a given image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.image.sif import DIGEST_LABEL


@dataclass(frozen=True)
class Verdict:
    """The answer to `slipway image verify`."""

    good: bool
    line: str


def verify_command(sif: Path, key: Path | None) -> list[str]:
    """Return the command that checks every object of the SIF against its signature; without a key, by the keyring."""
    return ["apptainer", "verify", "--all", *_key(key), str(sif)]


def sign_command(sif: Path, key: Path | None) -> list[str]:
    """Return the command that signs all objects of a SIF."""
    return ["apptainer", "sign", *_key(key), str(sif)]


def _key(key: Path | None) -> Sequence[str]:
    return ["--key", str(key)] if key else []


def judge(sif: Path, signature_good: bool, labels: Mapping[str, str], digest: str | None) -> Verdict:
    """Return the verdict, with one line that states it.

    The label counts only under a good signature, which covers it.
    """
    if not signature_good:
        return Verdict(False, f"{sif}: NOT VERIFIED: its signature is missing, by another key, or broken")
    made_from = labels.get(DIGEST_LABEL)
    if made_from is None:
        return Verdict(False, f"{sif}: NOT VERIFIED: signed, but it has no label {DIGEST_LABEL}")
    if digest is None:
        return Verdict(True, f"{sif}: signature good; it was made from the image {made_from}")
    if digest != made_from:
        return Verdict(
            False, f"{sif}: NOT VERIFIED: it was made from the image {made_from}, not from {digest}"
        )
    return Verdict(True, f"{sif}: verified: signature good, made from the image {digest}")
