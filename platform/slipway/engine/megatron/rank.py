"""One rank's part of a model that Megatron-core trains: see slipway.engine.engine.Rank."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from megatron.core.parallel_state import get_tensor_model_parallel_rank
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.utils import get_attr_wrapped_model
from torch import Tensor

from slipway.engine.engine import Seen, Timed
from slipway.engine.megatron import generators, matrices, restore
from slipway.engine.megatron.buffers import Buffers
from slipway.engine.megatron.build import build_chunks, stages_here, tell_schedule, wrap_chunks
from slipway.engine.megatron.optimizer import build_optimizer, prepare_gradients, update
from slipway.engine.megatron.plain_stage import PlainStage
from slipway.engine.megatron.snapshot import Snapshotter
from slipway.models import network_of
from slipway.models.network import Batch, Sums
from slipway.plan import Plan


class MegatronRank:
    """This rank's model chunks, wrapped, and their optimizer."""

    def __init__(self, plan: Plan, device: torch.device, optimize: bool, initial: bool = True) -> None:
        """Build them; process groups must exist. optimize: with gradients and optimizer. initial: with values."""
        self.plan, self.config = plan, plan.trained
        self.network = network_of(self.config)
        self.stages = stages_here(plan)
        self.chunks = build_chunks(plan, device, initial)
        self.optimizer: Any = None
        if optimize:
            self.chunks = wrap_chunks(plan, self.chunks, device)
            self.optimizer = build_optimizer(self.config, self.chunks)
            matrices.arrange(self.optimizer, self.config)
            tell_schedule(plan, self.chunks, self.optimizer)
        self.buffers = Buffers(self.chunks)

    @property
    def reads(self) -> frozenset[str]:
        """The fields that this rank's stages need."""
        return frozenset().union(*(self.network.reads(self.config, stage) for stage in self.stages))

    @property
    def modules(self) -> list[torch.nn.Module]:
        """The family's modules, without the wrappers that Megatron-core's training needs."""
        inside = [
            get_attr_wrapped_model(chunk, "set_input_tensor", return_model_obj=True) for chunk in self.chunks
        ]
        return [one.inner if isinstance(one, PlainStage) else one for one in inside]

    @property
    def counts(self) -> bool:
        """Whether this is the first of the tensor-parallel ranks, which compute the same samples."""
        return get_tensor_model_parallel_rank() == 0

    def zero_grad(self) -> None:
        """Forget the last step's gradients."""
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()

    def forward_backward(self, batches: Sequence[Batch], timed: Timed) -> list[Sums]:
        """Run a step, reduce its gradients, and return the sums of each microbatch."""
        self.buffers.remember()
        sums = self._run(batches, timed(self._forward), forward_only=False)
        self.buffers.synchronize()
        return sums

    def forward(self, batches: Sequence[Batch], seen: Seen | None = None) -> list[Sums]:
        """Run microbatches without gradients and return the sums of each."""
        return self._run(batches, partial(self._forward, seen=seen), forward_only=True)

    def _forward(
        self, batches: Iterator[Batch], module: torch.nn.Module, seen: Seen | None = None
    ) -> tuple[Tensor, Callable]:
        """Return one microbatch's output from one chunk, and its loss function, as Megatron-core's schedules expect."""
        batch = next(batches)
        stage = get_attr_wrapped_model(module, "set_input_tensor", return_model_obj=True)
        received = stage.received if isinstance(stage, PlainStage) else None
        output, loss_of = self.network.forward(self.config, batch, module, received)
        if isinstance(stage, PlainStage) and output._base is not None:
            output = output.clone()  # the schedule frees what was sent, which fails for a view

        def loss(output: Tensor) -> tuple[Tensor, Tensor, Sums]:  # called only on the last stage
            if seen is not None:
                seen(batch, output)
            total, count, sums = loss_of(output)
            return total, count.to(torch.int), sums

        return output, loss

    def _run(self, batches: Sequence[Batch], step: Callable, forward_only: bool) -> list[Sums]:
        length, _ = self.network.boundary(self.config)
        iterators = [iter(batches) for _ in self.chunks]
        many = len(self.chunks) > 1
        return get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=iterators if many else iterators[0],
            model=self.chunks if many else self.chunks[0],
            num_microbatches=self.plan.num_microbatches,
            seq_length=length,
            micro_batch_size=self.config.training.micro_batch_size,
            forward_only=forward_only,
        )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluate inside, without gradients; training continues afterwards as if nothing had been evaluated."""
        for chunk in self.chunks:
            chunk.eval()
        try:
            with torch.no_grad(), self.whole_parameters(), generators.undisturbed():
                yield
        finally:
            for chunk in self.chunks:
                chunk.train()

    @contextmanager
    def whole_parameters(self) -> Iterator[None]:
        """Gather now what the forward pass otherwise gathers on its way; FSDP does so by itself."""
        layout = self.config.parallelism
        overlapping = layout.overlap_param_gather and not layout.data_parallel_sharding_strategy
        chunks = self.chunks if overlapping and self.optimizer else []
        for chunk in chunks:
            chunk.disable_forward_pre_hook()
        try:
            yield
        finally:
            for chunk in chunks:
                chunk.enable_forward_pre_hook()

    def grad_norm(self) -> float:
        """Prepare the reduced gradients for an update; return the L2 norm of the whole gradient."""
        return prepare_gradients(self.optimizer)

    def update(self, learning_rate: float, grad_norm: float) -> None:
        """Clip the gradients and apply them."""
        update(self.optimizer, self.config.optimizer, learning_rate, grad_norm)

    def leave_out(self) -> None:
        """Restore what the step's samples have changed."""
        self.buffers.restore()

    def snapshotter(self, beside: bool) -> Snapshotter:
        """Return an object that takes copies of model and optimizer."""
        return Snapshotter(self.config, self.chunks, self.optimizer, beside)

    def load(
        self, path: Path, step: int, updates: int, with_generators: bool, with_states: bool = True
    ) -> None:
        """Fill model and optimizer from a checkpoint."""
        restore.load(
            self.config, self.chunks, self.optimizer, path, step, updates, with_generators, with_states
        )
