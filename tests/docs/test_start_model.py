"""The page "From a proposal to a trained, exported and evaluated model" is what happens to somebody who follows it."""

from pathlib import Path

import pytest

from followed import Page
from newcomer import newcomer

pytestmark = [pytest.mark.start, pytest.mark.timeout(900)]


def test_the_page_is_true(tmp_path: Path) -> None:
    home, environment = newcomer(tmp_path)
    Page("docs/start/model.md").follow(home, environment)
