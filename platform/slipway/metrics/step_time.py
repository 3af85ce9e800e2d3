"""Where a step's time goes: turns a profiler's trace of one rank into seconds of each kind of work.

Every instant of the window belongs to exactly one kind, so that the kinds add up to the window. Computation comes
first: communication beside it costs nothing and is not counted. On a GPU the device's kernels decide. On a CPU the
operators on the threads of the forward and the backward pass decide, each instant by the innermost one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

OPTIMIZER_RANGE = "slipway: optimizer"  # names of the profiler ranges around what is measured
WINDOW_RANGE = "slipway: steps"

KINDS = {
    "matmul": "matrix products",
    "attention": "fused attention; unfused attention counts as its products and kernels",
    "other kernels": "norms, activations, losses, sums, copies",
    "communication": "collectives while nothing is computed, waiting for slower ranks in them included",
    "waiting": "nothing runs: Python between kernels, or the pipeline's neighbour has not sent yet",
    "optimizer": "gradient norm, clipping and update, without their collectives",
}
_EXCHANGE = "exchange"  # a send or receive in flight: counts as waiting if nothing else runs
_FIRST = ("matmul", "attention", "optimizer", "other kernels", "communication", _EXCHANGE)

_HOST_MATMULS = re.compile(
    r"^(aten|mkldnn|mkl|onednn)::_*(mm|bmm|addmm|baddbmm|addbmm|matmul|linear|linear_backward|linear_pointwise|"
    r"mkldnn_linear|mkl_linear|scaled_mm|grouped_mm|scaled_grouped_mm|addmm_activation|mv|addmv|dot)_?$"
)
_HOST_ATTENTION = re.compile(
    r"scaled_?dot_?product|flash_?attention|efficient_?attention|flex_?attention", re.I
)
_NOT_KERNELS = ("autograd::", "c10d::")
_DEVICE_ATTENTION = re.compile(r"flash|fmha|sdpa|attention", re.I)
_DEVICE_MATMUL = re.compile(
    r"gemm|cublas|cutlass|nvjet|xmma|splitk|Cijk|triton_tem|wgmma|matmul|\bmm_|_mm_", re.I
)
_DEVICE_COLLECTIVE = re.compile(r"nccl|rccl", re.I)
_DEVICE_EXCHANGE = re.compile(r"send_?recv", re.I)
_DEVICE_OPTIMIZER = re.compile(r"multi_tensor_apply|adam", re.I)
_DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")


class Event(NamedTuple):
    """A span of a profiler's trace; start and end in seconds on any clock, the same for all events."""

    name: str
    kind: str  # cpu_op, user_annotation, kernel, gpu_user_annotation...: `cat` of a Chrome trace
    thread: int  # or stream
    start: float
    end: float


class Span(NamedTuple):
    """A piece of time in which something of one kind ran."""

    start: float
    end: float
    kind: str


def read_trace(trace: dict[str, Any]) -> list[Event]:
    """Return the spans of a Chrome trace as torch's profiler exports it; its microseconds become seconds."""
    return [
        Event(e["name"], e.get("cat", ""), _number(e["tid"]), e["ts"] * 1e-6, (e["ts"] + e["dur"]) * 1e-6)
        for e in trace["traceEvents"]
        if e.get("ph") == "X" and e.get("cat") != "Trace"
    ]


def breakdown(events: Sequence[Event]) -> dict[str, float]:
    """Return the seconds of each of KINDS within the events' window (WINDOW_RANGE); they add up to the window."""
    window = next(e for e in events if e.name == WINDOW_RANGE and e.kind == "user_annotation")
    on_device = any(e.kind in _DEVICE_WORK for e in events)
    spans = _device_spans(events) if on_device else _host_spans(events, window.thread)
    seconds = _partition(spans, window.start, window.end)
    waiting = seconds.pop(_EXCHANGE) + seconds.pop("")
    return {kind: waiting if kind == "waiting" else seconds[kind] for kind in KINDS}


def _partition(spans: Iterable[Span], start: float, end: float) -> dict[str, float]:
    """Return the seconds of each kind in _FIRST, and under "" those in which nothing ran.

    An instant belongs to the first kind in that order that runs then.
    """
    changes: list[tuple[float, int, str]] = []
    for span in spans:
        first, last = max(span.start, start), min(span.end, end)
        if last > first:
            changes += [(first, 1, span.kind), (last, -1, span.kind)]
    changes.sort()
    seconds: dict[str, float] = {kind: 0.0 for kind in (*_FIRST, "")}
    running: Counter[str] = Counter()
    at = start
    for time, change, kind in [*changes, (end, 0, "")]:
        seconds[next((k for k in _FIRST if running[k]), "")] += time - at
        running[kind] += change
        at = time
    return seconds


def _device_spans(events: Sequence[Event]) -> Iterator[Span]:
    optimizer: dict[int, list[Event]] = {}
    for event in events:
        if event.kind == "gpu_user_annotation" and event.name == OPTIMIZER_RANGE:
            optimizer.setdefault(event.thread, []).append(event)
    for event in events:
        if event.kind in _DEVICE_WORK:
            ranges = optimizer.get(event.thread, [])
            inside = any(r.start <= event.start < r.end for r in ranges)
            yield Span(event.start, event.end, device_kind(event.name, in_optimizer=inside))


def device_kind(name: str, *, in_optimizer: bool = False) -> str:
    """Return the kind of a device kernel, by its name and by the range in which it was launched."""
    if _DEVICE_COLLECTIVE.search(name):
        return _EXCHANGE if _DEVICE_EXCHANGE.search(name) else "communication"
    if in_optimizer or _DEVICE_OPTIMIZER.search(name):
        return "optimizer"
    if _DEVICE_ATTENTION.search(name):
        return "attention"
    return "matmul" if _DEVICE_MATMUL.search(name) else "other kernels"


def _host_spans(events: Sequence[Event], main: int) -> Iterator[Span]:
    """Yield the operators of the main thread and of the backward pass, and gloo's transfers on any thread."""
    threads = {main} | {e.thread for e in events if e.name.startswith("autograd::engine")}
    nested: dict[int, list[Event]] = {thread: [] for thread in threads}
    for event in events:
        if event.name.startswith("gloo:"):
            alone = event.name in ("gloo:send", "gloo:recv")
            yield Span(event.start, event.end, _EXCHANGE if alone else "communication")
        elif event.thread in threads and event.kind in ("cpu_op", "user_annotation"):
            nested[event.thread].append(event)
    for of_one in nested.values():
        yield from _innermost(of_one)


class _Frame(NamedTuple):
    end: float
    context: str  # attention, optimizer or communication: the kind of all inside; "" elsewhere
    working: bool  # an operator runs, not only a function that calls operators
    kind: str  # the kind while no inner event runs; "": none


def _innermost(events: list[Event]) -> Iterator[Span]:
    """Yield one thread's nested events as spans side by side, each instant under its innermost event."""
    stack = [_Frame(float("inf"), "", False, "")]
    at = float("-inf")

    def until(time: float) -> Iterator[Span]:
        nonlocal at
        while stack[-1].end <= time:
            frame = stack.pop()
            if frame.kind and frame.end > at:
                yield Span(at, frame.end, frame.kind)
            at = max(at, frame.end)
        if stack[-1].kind and time > at:
            yield Span(at, time, stack[-1].kind)
        at = max(at, time)

    for event in sorted(events, key=lambda e: (e.start, -e.end)):
        yield from until(event.start)
        stack.append(_frame(event, stack[-1]))
    yield from until(max((e.end for e in events), default=at))


def _frame(event: Event, outer: _Frame) -> _Frame:
    name, context = event.name, outer.context
    if name.startswith("c10d::"):
        return _Frame(event.end, "communication", True, "communication")
    if not context:
        if name == OPTIMIZER_RANGE or name.startswith("Optimizer.step"):
            context = "optimizer"
        elif _HOST_ATTENTION.search(name):
            context = "attention"
    # a function of autograd is Python around operators; what torch.compile has fused shows as one graph
    operator = "::" in name and not name.startswith(_NOT_KERNELS)
    working = outer.working or operator or "CompiledFxGraph" in name
    kind = ""
    if working:
        product = outer.kind == "matmul" or _HOST_MATMULS.match(name)
        kind = context or ("matmul" if product else "other kernels")
    return _Frame(event.end, context, working, kind)


def _number(thread: object) -> int:
    return int(thread) if isinstance(thread, int) else hash(thread)
