"""YAML without base 60: YAML 1.1 reads `time_limit: 24:00:00` as the number 86400, which means 60 days of minutes."""

import re
from functools import cache

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


class _Unless:
    """A resolver's pattern that matches no number in base 60."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern

    def match(self, text: str) -> re.Match[str] | None:
        """Return the match, as PyYAML expects of its patterns; None for a number in base 60."""
        return None if _BASE_60.fullmatch(text) else self.pattern.match(text)


@cache
def times_are_text() -> None:
    """Let this process read `24:00:00` in YAML files as text. Call it before Hydra or PyYAML reads any file.

    Writers keep their quotes around it: others read what they write.
    """
    import yaml

    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", None)):
        if loader is not None:  # OmegaConf's loader starts from a copy of SafeLoader's
            loader.yaml_implicit_resolvers = {
                first: [
                    (tag, _Unless(pattern) if tag in (_INT, _FLOAT) else pattern) for tag, pattern in known
                ]
                for first, known in loader.yaml_implicit_resolvers.items()
            }
