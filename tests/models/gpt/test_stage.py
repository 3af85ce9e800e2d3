"""What stands between the family and Megatron-core's GPTModel."""

import inspect
import logging

import pytest
from megatron.core import package_info
from megatron.core.models.gpt import GPTModel

from slipway.models.gpt import stage


def test_of_its_words_the_deprecation_alone_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert stage.build_stage  # imported, it listens
    logger = logging.getLogger(GPTModel.__module__)
    logger.warning("GPTModel IS DEPRECATED. GPTModel is only accepting critical bug fixes.")
    logger.warning("another word")
    assert caplog.messages == ["another word"]
    if package_info.MINOR >= 19:
        assert "GPTModel IS DEPRECATED" in inspect.getsource(GPTModel.__init__), (
            "it says it in other words now"
        )
