"""Notebooks and kernels, driven by a real Jupyter client."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240  # for a cell, on a busy machine


def executed(notebook: Path, parameters: str, kernels: Path | None, name: str, folder: Path) -> list[dict]:
    """Run a notebook in a folder; return its cells with their outputs. Raises CellExecutionError.

    parameters: takes the place of the cell with this tag. kernels: the folder of the kernel called `name`; None: this
    environment's Python.
    """
    book = nbformat.read(notebook, as_version=4)
    (cell,) = (cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = parameters
    manager = AsyncKernelManager(**_settings(kernels, name, folder))
    # the command `slipway` of this environment is the one in reach
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with mock.patch.dict(os.environ, {"PATH": path}):
        client = NotebookClient(
            book, km=manager, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
        )
        client.execute(cleanup_kc=True)  # a manager that it was given it would leave with its kernel
    assert not asyncio.run(_is_alive(manager)), "the kernel is still there"
    return book.cells


@contextmanager
def kernel(
    kernels: Path, name: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A kernel that runs in a folder, started with these variables besides this process's, and a client of it."""
    manager = KernelManager(**_settings(kernels, name, folder))
    manager.start_kernel(cwd=str(folder), env={**os.environ, **environment})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def answer(client: BlockingKernelClient, code: str) -> str:
    """Run code in a kernel; return what it printed. Raises AssertionError with the traceback where it failed."""
    printed, failed = [], []

    def take(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])
        elif message["msg_type"] == "error":
            failed.append("\n".join(message["content"]["traceback"]))

    reply = client.execute_interactive(code, timeout=SECONDS, output_hook=take)
    assert not failed, failed
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


def interrupted(manager: KernelManager, client: BlockingKernelClient) -> str:
    """Interrupt a kernel that sleeps; return the name of the exception that this has become."""
    # what follows an error is left out where it waits already
    sleeping = client.execute("print('asleep'); import time; time.sleep(600)", stop_on_error=False)
    while client.get_iopub_msg(timeout=SECONDS)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=SECONDS))["parent_header"]["msg_id"] != sleeping:
        pass
    return reply["content"].get("ename", reply["content"]["status"])


async def _is_alive(manager: AsyncKernelManager) -> bool:
    return await manager.is_alive()


def texts(cells: list[dict]) -> list[str]:
    """All that the cells have printed and shown as text, cell by cell."""
    return [
        "".join(
            out.get("text", "") or out.get("data", {}).get("text/plain", "")
            for out in cell.get("outputs", [])
        )
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def shown(cells: list[dict], kind: str) -> int:
    """How many outputs are of a MIME type."""
    return sum(kind in out.get("data", {}) for cell in cells for out in cell.get("outputs", []))


def _settings(kernels: Path | None, name: str, folder: Path) -> dict[str, Any]:
    runtime = folder / "runtime"
    runtime.mkdir(exist_ok=True)
    specs = KernelSpecManager(
        kernel_dirs=[str(kernels)] if kernels else [], ensure_native_kernel=kernels is None
    )
    return {
        "kernel_name": name,
        "kernel_spec_manager": specs,
        "connection_file": str(runtime / f"kernel-{os.getpid()}-{name}.json"),
    }
