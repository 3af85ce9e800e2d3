"""Preparation in this process: what it does is the same, and a test starts no other processes."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import pytest

from slipway.data.imagery import preparation


class Here(Executor):
    def submit(self, call: Any, /, *words: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*words, **options))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def pool(*words: Any) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(preparation, "worker_pool", pool)
