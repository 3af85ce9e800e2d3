"""The table of operators and backends that `slipway bench kernels` measures: a line for each.

A case is built as the trainer builds it, from the same spec provider, with that backend forced; `unfused` is plain
torch or Megatron-core, for comparison. Imports torch and Megatron-core only while it builds.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from slipway.bench import kernel_counts as counts
from slipway.bench.batches import DOCUMENTS
from slipway.bench.kernel_counts import Cost
from slipway.config.schema import RunConfig
from slipway.data.text.config import text_of
from slipway.kernels.choice import TABLE
from slipway.kernels.probe import Machine
from slipway.models.gpt.config import gpt_of

EXPERTS = 8  # where the model is dense
PACKAGES = {"te": "transformer_engine.pytorch.optimizers", "apex": "apex.optimizers"}
Build = Callable[["Scene", str], Callable[[], object]]


class Operator(NamedTuple):
    """part: its name in the table of kernels. fields: of the model, as the operator needs them."""

    part: str
    cost: Callable[[RunConfig], Cost]
    fields: dict[str, Any] = {}


class Case(NamedTuple):
    """build(scene, backend) gives what is called; the caller times it."""

    operator: str
    backend: str
    build: Build


class Scene(NamedTuple):
    """What a case is built from."""

    config: RunConfig
    device: Any
    dtype: Any

    def with_backend(self, **backends: str) -> RunConfig:
        """The configuration with another backend for an operator."""
        kernels = self.config.kernels.model_copy(update=backends)
        return self.config.model_copy(update={"kernels": kernels})

    def random(self, *shape: int) -> Any:
        """A tensor that wants a gradient."""
        import torch

        return torch.randn(shape, device=self.device, dtype=self.dtype).requires_grad_()


def _gelu(config: RunConfig) -> Cost:
    return counts.mlp(counts.shape_of(config), gated=False)


def _swiglu(config: RunConfig) -> Cost:
    return counts.mlp(counts.shape_of(config), gated=True)


OPERATORS: dict[str, Operator] = {
    "layer_norm": Operator(
        "norm", lambda c: counts.norm(counts.shape_of(c), "layer_norm"), {"normalization": "LayerNorm"}
    ),
    "rms_norm": Operator(
        "norm", lambda c: counts.norm(counts.shape_of(c), "rms_norm"), {"normalization": "RMSNorm"}
    ),
    "attention_forward": Operator("attention", lambda c: counts.attention_forward(counts.shape_of(c))),
    "attention": Operator("attention", lambda c: counts.attention(counts.shape_of(c))),
    "attention_documents": Operator("attention", lambda c: counts.attention(counts.shape_of(c), DOCUMENTS)),
    "mlp_gelu": Operator("linear", _gelu, {"activation": "gelu", "add_bias_linear": True}),
    "mlp_swiglu": Operator("linear", _swiglu, {"activation": "swiglu", "add_bias_linear": False}),
    "experts": Operator("moe", counts.experts, {"activation": "swiglu", "add_bias_linear": False}),
    "rotary": Operator("rotary", lambda c: counts.rotary(counts.shape_of(c))),
    "cross_entropy": Operator("cross_entropy", lambda c: counts.cross_entropy(counts.shape_of(c))),
    "adamw": Operator("optimizer", counts.adamw),
}


def of_operator(config: RunConfig, operator: str) -> RunConfig:
    """The configuration with the model's fields as the operator needs them; dense, but for a mixture's experts."""
    experts = gpt_of(config).num_moe_experts or EXPERTS
    fields = OPERATORS[operator].fields | {"num_moe_experts": experts if operator == "experts" else None}
    return config.model_copy(update={"model": gpt_of(config).model_copy(update=fields)})


def trouble(case: Case, machine: Machine, config: RunConfig) -> str | None:
    """Why a case cannot be measured here; None where it can."""
    for backend in TABLE[OPERATORS[case.operator].part]:
        if backend.name == case.backend:
            return backend.trouble(machine, of_operator(config, case.operator))
    return None  # for comparison only: torch does it everywhere


def _gradients(output: Any, inputs: Sequence[Any], upstream: Any) -> object:
    import torch

    return torch.autograd.grad(output, inputs, upstream, allow_unused=True)


def _transformer(config: RunConfig) -> Any:
    from slipway.models.gpt.network import transformer_config

    return transformer_config(config)


def _ready(module: Any, scene: Scene) -> Any:
    """On the device, with weights that are numbers: Megatron-core leaves them as the memory was."""
    import torch

    module = module.to(scene.device, scene.dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.02)
    return module


def _norm(scene: Scene, backend: str) -> Callable[[], object]:
    from slipway.kernels.provider import SpecProvider

    config = scene.with_backend(norm=backend)
    model, transformer = gpt_of(config), _transformer(config)
    kind = SpecProvider(config.kernels).layer_norm(rms_norm=model.normalization == "RMSNorm")
    module = _ready(kind(config=transformer, hidden_size=model.hidden_size, eps=model.norm_epsilon), scene)
    return _forward_and_backward(scene, module, list(module.parameters()))


def _plain_norm(scene: Scene, backend: str) -> Callable[[], object]:
    import torch

    model = gpt_of(scene.config)
    weight, bias = scene.random(model.hidden_size), scene.random(model.hidden_size)
    centred = model.normalization == "LayerNorm"

    def module(x: Any) -> Any:
        if centred:
            x = x - x.mean(-1, keepdim=True)
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + model.norm_epsilon) * weight
        return y + bias if centred else y

    return _forward_and_backward(scene, module, [weight, bias] if centred else [weight])


def _forward_and_backward(scene: Scene, module: Any, parameters: Sequence[Any]) -> Callable[[], object]:
    """Of a module that maps [s, b, h] to the same shape."""
    training, hidden = scene.config.training, gpt_of(scene.config).hidden_size
    x = scene.random(text_of(scene.config).sequence_length, training.micro_batch_size, hidden)
    upstream = scene.random(*x.shape).detach()

    def run() -> object:
        output = module(x)
        return _gradients(output[0] if isinstance(output, tuple) else output, [x, *parameters], upstream)

    return run


def _attention(*, backward: bool, documents: int = 1) -> Build:
    """documents: of each sample, kept apart."""

    def build(scene: Scene, backend: str) -> Callable[[], object]:
        import torch
        from megatron.core.transformer.dot_product_attention import DotProductAttention
        from megatron.core.transformer.enums import AttnMaskType

        from slipway.kernels.provider import SpecProvider
        from slipway.kernels.spans import spans_of_samples

        shape, mask = counts.shape_of(scene.config), None
        position = torch.arange(shape.sequence)
        length = -(-shape.sequence // documents)
        starts = position - position % length
        if backend == "unfused":
            config, kind = scene.config, DotProductAttention
            unseen = (position > position[:, None]) | (position < starts[:, None])
            mask = unseen.to(scene.device)[None, None]
        else:
            config = scene.with_backend(attention=backend)
            kind = SpecProvider(config.kernels).core_attention()
            if documents > 1:
                mask = spans_of_samples(starts.expand(shape.batch, -1), 0, 1)
        core = kind(
            config=_transformer(config),
            layer_number=1,
            attn_mask_type=AttnMaskType.causal,
            attention_type="self",
        )
        q, k, v = (
            scene.random(shape.sequence, shape.batch, heads, shape.head)
            for heads in (shape.heads, shape.groups, shape.groups)
        )
        upstream = scene.random(shape.sequence, shape.batch, shape.heads * shape.head).detach()

        def forward() -> Any:
            return core(q, k, v, mask, attn_mask_type=AttnMaskType.causal)

        if backward:
            return lambda: _gradients(forward(), [q, k, v], upstream)
        return torch.no_grad()(forward)

    return build


def _mlp(scene: Scene, backend: str) -> Callable[[], object]:
    from megatron.core.parallel_state import get_tensor_model_parallel_group
    from megatron.core.transformer.mlp import MLP, MLPSubmodules

    from slipway.kernels.provider import SpecProvider

    config = scene.with_backend(linear=backend)
    provider = SpecProvider(config.kernels)
    parts: Any = MLPSubmodules(
        linear_fc1=provider.column_parallel_linear(), linear_fc2=provider.row_parallel_linear()
    )
    group: Any = get_tensor_model_parallel_group()
    module = _ready(MLP(config=_transformer(config), submodules=parts, tp_group=group), scene)
    return _forward_and_backward(scene, module, list(module.parameters()))


def _experts(scene: Scene, backend: str) -> Callable[[], object]:
    import torch
    from megatron.core.models.gpt.gpt_layer_specs import get_mlp_module_spec_for_backend
    from megatron.core.process_groups_config import ProcessGroupCollection
    from megatron.core.transformer.spec_utils import build_module

    from slipway.kernels.provider import SpecProvider

    config = scene.with_backend(moe=backend)
    count, shape = gpt_of(config).num_moe_experts or 1, counts.shape_of(config)
    layer: Any = get_mlp_module_spec_for_backend(
        SpecProvider(config.kernels), num_experts=count, moe_grouped_gemm=backend == "te"
    )
    parts = layer.keywords["submodules"] if isinstance(layer, partial) else layer.submodules
    build: Any = parts.experts if callable(parts.experts) else partial(build_module, parts.experts)
    groups = ProcessGroupCollection.use_mpu_process_groups()
    module = _ready(build(count, _transformer(config), pg_collection=groups), scene)
    rows = shape.tokens * gpt_of(config).moe_router_topk
    x, probabilities = scene.random(rows, shape.hidden), torch.rand(rows, device=scene.device)
    upstream = scene.random(*x.shape).detach()
    drawn = torch.randint(count, (rows,), generator=torch.Generator().manual_seed(1))
    of_expert = torch.bincount(drawn, minlength=count)

    def run() -> object:
        return _gradients(module(x, of_expert, probabilities)[0], [x, *module.parameters()], upstream)

    return run


def _rotary(scene: Scene, backend: str) -> Callable[[], object]:
    from megatron.core.models.common.embeddings.rope_utils import apply_rotary_pos_emb
    from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding

    transformer, shape = _transformer(scene.with_backend(rotary=backend)), counts.shape_of(scene.config)
    angles = RotaryEmbedding(shape.head, rotary_percent=1.0, use_cpu_initialization=True)(shape.sequence)
    angles = angles.to(scene.device)
    heads = [
        scene.random(shape.sequence, shape.batch, count, shape.head) for count in (shape.heads, shape.groups)
    ]
    upstream = [scene.random(*x.shape).detach() for x in heads]

    def run() -> object:
        turned = [apply_rotary_pos_emb(x, angles, config=transformer) for x in heads]
        return _gradients(turned, heads, upstream)

    return run


def _output_layer(scene: Scene) -> tuple[Any, Any, Any]:
    """Input [s, b, h], weight [V, h], labels [s, b]."""
    import torch

    shape = counts.shape_of(scene.config)
    labels = torch.randint(shape.vocabulary, (shape.sequence, shape.batch), device=scene.device)
    weight = (scene.random(shape.vocabulary, shape.hidden) * 0.02).detach().requires_grad_()
    return scene.random(shape.sequence, shape.batch, shape.hidden), weight, labels


def _cross_entropy(scene: Scene, backend: str) -> Callable[[], object]:
    import torch
    from megatron.core.parallel_state import get_tensor_model_parallel_group
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    x, weight, labels = _output_layer(scene)
    group: Any = get_tensor_model_parallel_group()
    if backend == "torch":
        from slipway.kernels.cross_entropy import linear_cross_entropy

        by_sample, mask = labels.t().contiguous(), torch.ones(labels.t().shape, device=scene.device)

        def losses() -> Any:
            return linear_cross_entropy(x, weight, by_sample, mask, group=group, sequence_parallel=False)

    elif backend == "te":
        from megatron.core.extensions.transformer_engine import te_parallel_cross_entropy

        def losses() -> Any:
            function: Any = te_parallel_cross_entropy
            return function(torch.nn.functional.linear(x, weight), labels, group, False)

    else:

        def losses() -> Any:
            return vocab_parallel_cross_entropy(torch.nn.functional.linear(x, weight), labels)

    return lambda: _gradients(losses().sum(), [x, weight], None)


def _adamw(scene: Scene, backend: str) -> Callable[[], object]:
    import torch

    kind: Any = torch.optim.AdamW
    options: dict[str, Any] = {}
    if backend in PACKAGES:
        kind = import_module(PACKAGES[backend]).FusedAdam
    else:
        options = {"fused": backend == "torch", "foreach": False}
    weights = [torch.randn(shape, device=scene.device) for shape in counts.layer_weights(scene.config)]
    for weight in weights:
        weight.requires_grad_().grad = torch.randn_like(weight)
    return kind(weights, lr=1e-6, weight_decay=0.1, **options).step


CASES = [
    Case("layer_norm", "te", _norm),
    Case("layer_norm", "apex", _norm),
    Case("layer_norm", "torch", _norm),
    Case("layer_norm", "unfused", _plain_norm),
    Case("rms_norm", "te", _norm),
    Case("rms_norm", "torch", _norm),
    Case("rms_norm", "unfused", _plain_norm),
    Case("attention_forward", "te", _attention(backward=False)),
    Case("attention_forward", "torch", _attention(backward=False)),
    Case("attention_forward", "unfused", _attention(backward=False)),
    Case("attention", "te", _attention(backward=True)),
    Case("attention", "torch", _attention(backward=True)),
    Case("attention", "unfused", _attention(backward=True)),
    Case("attention_documents", "torch", _attention(backward=True, documents=DOCUMENTS)),
    Case("attention_documents", "unfused", _attention(backward=True, documents=DOCUMENTS)),
    Case("mlp_gelu", "te", _mlp),
    Case("mlp_gelu", "torch", _mlp),
    Case("mlp_gelu", "unfused", _mlp),
    Case("mlp_swiglu", "te", _mlp),
    Case("mlp_swiglu", "torch", _mlp),
    Case("mlp_swiglu", "unfused", _mlp),
    Case("experts", "te", _experts),
    Case("experts", "torch", _experts),
    Case("experts", "unfused", _experts),
    Case("rotary", "te", _rotary),
    Case("rotary", "torch", _rotary),
    Case("rotary", "unfused", _rotary),
    Case("cross_entropy", "te", _cross_entropy),
    Case("cross_entropy", "torch", _cross_entropy),
    Case("cross_entropy", "unfused", _cross_entropy),
    Case("adamw", "te", _adamw),
    Case("adamw", "apex", _adamw),
    Case("adamw", "torch", _adamw),
    Case("adamw", "unfused", _adamw),
]
