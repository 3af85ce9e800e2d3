"""Part: compares every operator and available backend with float64, forward and gradients, in both precisions."""

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.trainings import NO_TF32
from slipway.bench.kernel_cases import Scene as Case
from slipway.bench.kernel_table import CASES, OPERATORS, of_operator, trouble
from slipway.bench.options import configuration
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.plan import make_plan
from slipway.run_dir import RunDir

# largest error over the largest value; fp32 sums of thousands in another order, bf16 rounds to 8 bits
LIMITS = {"fp32": 2e-5, "bf16": 5e-2}
ALONE = ["attention_forward"]  # a part of another operator, compared there
COMMON = ["model.num_query_groups=2", "model.make_vocab_size_divisible_by=1", "parallelism=single"]
SIZES = {
    "odd": [
        *("model.hidden_size=144", "model.num_attention_heads=6", "model.kv_channels=24"),
        *("model.ffn_hidden_size=200", "model.vocab_size=257", "model.max_position_embeddings=77"),
        "training.micro_batch_size=3",
    ],
    "even": [
        *("model.hidden_size=256", "model.num_attention_heads=4", "model.kv_channels=64"),
        *("model.ffn_hidden_size=512", "model.vocab_size=512", "model.max_position_embeddings=128"),
        "training.micro_batch_size=2",
    ],
}


def kernels(scene: Scene) -> None:
    """Compare all operators and backends in one rank; a backend that fails hides no other."""
    os.environ.update(NO_TF32)
    from slipway.engine.runtime import load_torch
    from slipway.kernels.choice import backends
    from slipway.kernels.probe import machine
    from slipway.ranks.local import run_local

    configs = {
        (size, precision): configuration(
            [],
            [
                *("model=demo", *scene.here.cluster(), *COMMON, *words, f"training.precision={precision}"),
                "training.global_batch_size=${training.micro_batch_size}",
            ],
            scene.folder,
        )
        for size, words in SIZES.items()
        for precision in LIMITS
    }
    chosen, here, trained = {}, machine(scene.here.kind), {}
    for key, config in configs.items():
        chosen[key] = backends(load_torch(config, ranks_here=1))
        trained[key] = make_plan(config).with_kernels(chosen[key])
    plan = next(iter(trained.values()))

    def body(place: Any) -> int:
        from slipway.engine import engine_of

        device = engine_of(plan.config).connect(plan, place)
        _compare(scene, {key: one.trained for key, one in trained.items()}, here, device)
        return EXIT_DONE

    run_local(1, RunDir(scene.folder).logs, body)


def _compare(scene: Scene, configs: dict[tuple[str, str], RunConfig], here: Any, device: Any) -> None:
    for operator in OPERATORS:
        for case in CASES:
            if case.operator != operator or operator in ALONE:
                continue
            worst: dict[str, float] = {}
            reasons = defaultdict(list)
            for (size, precision), config in configs.items():
                if why := trouble(case, here, config):
                    reasons[why].append(precision)
                    continue
                if operator == "adamw" and precision == "bf16":
                    continue  # its weights are fp32 with either precision
                try:
                    found = _errors(case, of_operator(config, operator), precision, device)
                except Exception as error:  # so that each backend has its own verdict
                    scene.found.check(
                        f"{operator} {case.backend} {precision}, {size}", False, repr(error)[:300]
                    )
                    found = [float("inf")]
                worst[precision] = max(worst.get(precision, 0.0), *found)
            if not worst:
                scene.found.note(f"{operator} {case.backend} was not compared: {'; '.join(reasons)}")
                continue
            scene.found.row(operator=operator, backend=case.backend, **worst)
            scene.found.check(
                f"{operator} {case.backend}",
                all(worst[precision] < LIMITS[precision] for precision in worst),
                ", ".join(f"{precision} {value:.1e}" for precision, value in worst.items()),
                ", ".join(f"{precision} {LIMITS[precision]:g}" for precision in worst),
            )


def _errors(case: Any, config: RunConfig, precision: str, device: Any) -> Sequence[float]:
    import torch

    from slipway.bench.kernel_truth import adamw_error, errors

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.manual_seed(1)
    run = case.build(Case(config, device, dtype), case.backend)
    if case.operator == "adamw":
        return [adamw_error(run)]
    return errors(config, case.operator, run())
