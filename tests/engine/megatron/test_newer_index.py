"""Indexes of checkpoints that a newer torch has written."""

import pickle

import pytest
import torch
from torch.distributed.checkpoint.metadata import TensorProperties

from slipway.engine.megatron import newer_index

PROPERTIES = TensorProperties(dtype=torch.bfloat16, requires_grad=True)


def test_what_a_newer_torch_adds_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TensorProperties.__getstate__
    with monkeypatch.context() as newer:
        newer.setattr(TensorProperties, "__getstate__", lambda self: (*own(self), (1,), "more"))
        written = pickle.dumps(PROPERTIES)
    monkeypatch.setattr(TensorProperties, "__setstate__", newer_index._set_state)
    with pytest.raises(ValueError, match="unpack"):
        pickle.loads(written)
    for _ in range(2):
        newer_index.accept()
        assert pickle.loads(written) == PROPERTIES
        assert pickle.loads(pickle.dumps(PROPERTIES)) == PROPERTIES
