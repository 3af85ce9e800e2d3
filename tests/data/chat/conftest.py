"""The section `data` of conversations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.data.chat.config import Config as Data
from slipway.data.chat.config import Source, Tokenizer


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[..., Data]:
    """Makes the section `data` for a tokenizer's folder and inputs."""

    def make(tokenizer: Path, *inputs: Path | str, folder: str = "prepared", **changes: Any) -> Data:
        settings = {"sequence_length": 128, "workers": 1, "split": (1, 0, 0)} | changes
        source = Source(inputs=[str(path) for path in inputs])
        asked = Tokenizer(
            path=tokenizer, template=settings.pop("template", None), date=settings.pop("date", None)
        )
        return Data(name="test", dir=tmp_path / folder, tokenizer=asked, sources={"some": source}, **settings)

    return make
