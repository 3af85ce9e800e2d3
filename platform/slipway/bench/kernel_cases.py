"""Builds each operator for `slipway bench kernels` as the trainer builds it, with a backend forced.

The operators and shapes are those of the GPT family. `unfused` is plain torch or Megatron-core, for comparison. Imports
torch and Megatron-core only while it builds. A function `build_*` returns a function that runs the operator; its caller
times it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from slipway.bench import kernel_counts as counts
from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.models.gpt.config import gpt_of

PACKAGES = {"te": "transformer_engine.pytorch.optimizers", "apex": "apex.optimizers"}
Build = Callable[["Scene", str], Callable[[], object]]


class Scene(NamedTuple):
    """The configuration, the device and the dtype that a case is built from."""

    config: RunConfig
    device: Any
    dtype: Any

    def with_backend(self, **backends: str) -> RunConfig:
        """Return the configuration with other backends for some operators."""
        kernels = self.config.kernels.model_copy(update=backends)
        return self.config.model_copy(update={"kernels": kernels})

    def random(self, *shape: int) -> Any:
        """Return a random tensor of this shape that requires a gradient."""
        import torch

        return torch.randn(shape, device=self.device, dtype=self.dtype).requires_grad_()


class Seen(NamedTuple):
    """One call, forward and backward: what it can be compared by.

    upstream: the gradient of the output; None: the output is a sum, and its gradient one.
    """

    output: Any
    """A tensor, or several."""
    inputs: Sequence[Any]
    upstream: Any
    gradients: Sequence[Any]
    """Gradients of the inputs; None for one that was not used."""
    given: dict[str, Any]
    """Further values on which the output depends, by name."""


def _gradients(output: Any, inputs: Sequence[Any], upstream: Any, **given: Any) -> Seen:
    import torch

    gradients = torch.autograd.grad(output, inputs, upstream, allow_unused=True)
    return Seen(output, inputs, upstream, gradients, given)


def _transformer(config: RunConfig) -> Any:
    from slipway.engine.megatron.settings import settings
    from slipway.kernels import rotary, swiglu
    from slipway.models.gpt.transformer import transformer_config

    rotary.use(config.kernels.rotary or "torch")
    swiglu.use(config.kernels.activation or "torch")
    return transformer_config(config, settings(config))


def _ready(module: Any, scene: Scene) -> Any:
    """Return the module on the device, with finite weights: Megatron-core leaves them as the memory was."""
    import torch

    module = module.to(scene.device, scene.dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.02)
    return module


def build_norm(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs the trainer's norm, forward and backward."""
    from slipway.kernels.provider import SpecProvider

    config = scene.with_backend(norm=backend)
    model, transformer = gpt_of(config), _transformer(config)
    kind = SpecProvider(config.kernels).layer_norm(rms_norm=model.normalization == "RMSNorm")
    module = _ready(kind(config=transformer, hidden_size=model.hidden_size, eps=model.norm_epsilon), scene)
    return _forward_and_backward(scene, module, list(module.parameters()))


def build_plain_norm(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs a norm of plain operations, for comparison."""
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
    """Return a function that runs a module that maps [s, b, h] to the same shape, forward and backward."""
    training, hidden = scene.config.training, gpt_of(scene.config).hidden_size
    x = scene.random(tokens_of(scene.config).sequence_length, training.micro_batch_size, hidden)
    upstream = scene.random(*x.shape).detach()

    def run() -> object:
        output = module(x)
        return _gradients(output[0] if isinstance(output, tuple) else output, [x, *parameters], upstream)

    return run


def build_attention(*, backward: bool, documents: int = 1) -> Build:
    """Return a builder of attention.

    backward: with the backward pass. documents: of each sample, kept apart.
    """

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


def build_mlp(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs a dense MLP, forward and backward."""
    from megatron.core.parallel_state import get_tensor_model_parallel_group
    from megatron.core.transformer.mlp import MLP, MLPSubmodules

    from slipway.kernels.provider import SpecProvider

    config = scene.with_backend(linear=backend, activation=_activation(scene, backend))
    provider = SpecProvider(config.kernels)
    parts: Any = MLPSubmodules(
        linear_fc1=provider.column_parallel_linear(), linear_fc2=provider.row_parallel_linear()
    )
    group: Any = get_tensor_model_parallel_group()
    module = _ready(MLP(config=_transformer(config), submodules=parts, tp_group=group), scene)
    return _forward_and_backward(scene, module, list(module.parameters()))


def _activation(scene: Scene, backend: str) -> str:
    """Return the SwiGLU that goes with a backend of the products.

    It is torch's compiled one, except on a CPU and with `unfused`.
    """
    return "torch" if scene.device.type == "cuda" and backend != "unfused" else "unfused"


def build_swiglu(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs SwiGLU between the linear layers of a dense MLP."""
    import torch
    from megatron.core.transformer import mlp

    shape = counts.shape_of(scene.config)
    _transformer(scene.with_backend(activation=backend))
    x = scene.random(shape.sequence, shape.batch, 2 * shape.mlp)
    upstream = scene.random(shape.sequence, shape.batch, shape.mlp).detach()

    def run() -> object:
        if backend == "unfused":
            gate, up = x.chunk(2, dim=-1)
            output = torch.nn.functional.silu(gate) * up
        else:
            output = mlp.bias_swiglu_impl(x, None)
        return _gradients(output, [x], upstream)

    return run


def build_products(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs the dense MLP of torch's column, with the products of the backend."""
    from slipway.kernels import products

    run = build_mlp(scene, "torch")

    def multiplied() -> object:
        products.use(backend)
        return run()

    return multiplied


def build_experts(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs a mixture's experts, without its router."""
    import torch
    from megatron.core.process_groups_config import ProcessGroupCollection
    from megatron.core.transformer.spec_utils import build_module

    from slipway.kernels.provider import SpecProvider
    from slipway.models.transformer.layer_spec import mlp_spec

    config = scene.with_backend(moe=backend, activation=_activation(scene, backend))
    count, shape = gpt_of(config).num_moe_experts or 1, counts.shape_of(config)
    layer: Any = mlp_spec(SpecProvider(config.kernels), count, backend == "te")
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
        output = module(x, of_expert, probabilities)[0]
        inputs = [x, *module.parameters()]
        return _gradients(output, inputs, upstream, of_expert=of_expert, probabilities=probabilities)

    return run


def build_rotary(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs the rotary embedding of queries and keys."""
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
    """Return input [s, b, h], weight [V, h], labels [s, b]."""
    import torch

    shape = counts.shape_of(scene.config)
    labels = torch.randint(shape.vocabulary, (shape.sequence, shape.batch), device=scene.device)
    weight = (scene.random(shape.vocabulary, shape.hidden) * 0.02).detach().requires_grad_()
    return scene.random(shape.sequence, shape.batch, shape.hidden), weight, labels


def build_cross_entropy(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that runs the output layer and its loss."""
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

    return lambda: _gradients(losses().sum(), [x, weight], None, labels=labels)


def build_adamw(scene: Scene, backend: str) -> Callable[[], object]:
    """Return a function that makes a step of AdamW over one layer's weights."""
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
    return kind(weights, lr=0.1, weight_decay=0.1, **options).step
