"""Manifests as YAML that every reader parses alike."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

# Written without quotes: words that no version of YAML takes for a number, a boolean or null.
_PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)$)[A-Za-z][A-Za-z0-9_./-]*", re.IGNORECASE
)

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, if PyYAML was built with it


class _Dumper(_Base):
    def ignore_aliases(self, data: Any) -> bool:
        """Return True, so that every value is written out: manifests are read one by one."""
        return True


def _text(dumper: Any, text: str) -> Any:
    """Write a string. YAML 1.1 and 1.2 disagree on which words are strings, so all doubtful ones are quoted."""
    style = None if _PLAIN.fullmatch(text) else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_text(manifests: Sequence[dict[str, Any]]) -> str:
    """Return one YAML document for each manifest, with keys in the order in which they were given."""
    return yaml.dump_all(
        manifests, Dumper=_Dumper, explicit_start=True, sort_keys=False, width=1_000_000, allow_unicode=False
    )
