"""The pure half: an inlet, blocks of uneven width, an outlet."""

from collections.abc import Mapping
from typing import Any

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.models.family import Layer, Measure, Sample, Shard
from slipway.models.spans import shared_out
from slipway.models.work import Pass, Product, Work
from toy.config import Config, toy_of

ALONE = ("tensor_model_parallel_size", "context_parallel_size", "expert_model_parallel_size")


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _weights(model: Config) -> dict[str, int]:
    return {
        "inlet": _linear(model.inputs, model.width),
        **{
            f"block {number}": _linear(model.width, hidden) + _linear(hidden, model.width)
            for number, hidden in enumerate(model.hidden)
        },
        "outlet": _linear(model.width, model.outputs),
    }


def _matrices(model: Config) -> dict[str, int]:
    return {f"block {number}": 2 * model.width * hidden for number, hidden in enumerate(model.hidden)}


class Toy:
    engine = "megatron"
    data_kinds = ("vectors",)
    unit = "vector"
    loss = Measure("squared_error", "squared error per number")
    operators = frozenset[str]()

    def measures(self, config: RunConfig) -> tuple[Measure, ...]:
        return (Measure("largest_error"),)

    def check(self, config: RunConfig) -> None:
        for name in ALONE:
            size = getattr(config.parallelism, name)
            if size > 1:
                raise UserError(f"parallelism.{name}", "is not for model.family=toy", value=size, use="1")

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        if traits["numbers"] != (toy_of(config).inputs, toy_of(config).outputs):
            raise UserError("model.inputs", "differs from the vectors'")

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        model, batch = toy_of(config), config.training.micro_batch_size
        return [
            Layer(
                name,
                Shard(count),
                kept_bytes=4 * batch * model.width,
                block=name.startswith("block"),
                matrices=Shard(_matrices(model).get(name, 0)),
            )
            for name, count in _weights(model).items()
        ]

    def work(self, config: RunConfig, layout: Parallelism) -> list[Work]:
        """Two products for each block, one for the others; every product again for each of its gradients."""
        model, rows = toy_of(config), config.training.micro_batch_size
        shapes = [[(model.inputs, model.width)]]
        shapes += [[(model.width, hidden), (hidden, model.width)] for hidden in model.hidden]
        shapes += [[(model.width, model.outputs)]]
        return [
            Work(
                Pass(tuple(Product(rows, n, k, element_bytes=4, output_bytes=4) for k, n in layer)),
                Pass(tuple(Product(rows, n, k, 2, element_bytes=4, output_bytes=4) for k, n in layer)),
            )
            for layer in shapes
        ]

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        layers = self.layers(config, layout)
        return shared_out(
            [layer.block for layer in layers], [layer.parameters.total for layer in layers], layout
        )

    def sample(self, config: RunConfig) -> Sample:
        weights = sum(_weights(toy_of(config)).values())
        return Sample(units=1, flops=6 * weights, active_parameters=weights)

    def recomputed(self, config: RunConfig) -> tuple[str, ...]:
        return ()

    def chance(self, config: RunConfig) -> float | None:
        return None

    def notes(self, config: RunConfig) -> list[str]:
        """Nothing."""
        return []

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        return toy_of(config).model_dump(mode="json", exclude={"family", "name"})

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        return None


FAMILY = Toy()
