"""A published row as a configuration of ours, with what its framework did that is no field of ours.

Rows may break our own rules (layers that do not divide, more microbatches than the schedule likes): they are evaluated
below `slipway.plan.rules`.
"""

from functools import cache
from typing import Literal, NamedTuple

from published.rows import Row
from slipway.config.cluster import Device, Network
from slipway.config.compose import compose
from slipway.config.schema import Kernels, Parallelism, RunConfig
from slipway.models import family
from slipway.models.gpt.config import Config
from slipway.models.transformer.share import Traits
from slipway.plan.layout import Grid
from slipway.plan.step.layer import softmax


class Framework(NamedTuple):
    """What a framework of the time did, by its code and its papers: properties of its source, none of a row."""

    traits: Traits = Traits()
    """How it computes attention, how fast its kernels are beside the device's best, how stages send."""
    fused: bool = True
    """Norms, activations, rotary embeddings, biases and dropouts in kernels of their own; else by torch, one each."""
    overlaps: bool = True
    """Gradients are reduced, and parameters gathered, while it computes."""
    flex: bool = False
    """Tokens reach their experts by kernels that send each token to a node once (DeepEP, HybridEP)."""
    tensor_overlap: bool = False
    """Exchanges of tensor-parallel ranks run beside the products (user buffers, async TP)."""
    gradient_bytes: int = 4
    """Of each gradient that is exchanged."""


# Before FlashAttention: scores in memory, a fused softmax between two products. Stages send a part each and gather it
# inside the node (arXiv 2104.04473, section 4.1); tensor-parallel ranks wait for every exchange.
MEGATRON = Framework(
    Traits(flash=False, dropout=True, tensor_async=False, scattered_sends=True),
    overlaps=False,
    gradient_bytes=2,
)
FRAMEWORKS = {
    "Megatron-LM 2021": MEGATRON,
    # exchanges beside the products of the backward pass (arXiv 2205.05198, section 4.2.2)
    "Megatron-LM 2022": MEGATRON._replace(traits=MEGATRON.traits._replace(tensor_async=True)),
    "DeepSpeed ZeRO-3 2021": MEGATRON,
    # DeepSpeed's pipeline sends whole tensors
    "Megatron-DeepSpeed": MEGATRON._replace(traits=MEGATRON.traits._replace(scattered_sends=False)),
    # attention by the first FlashAttention in Triton, the rest by torch's kernels
    "llm-foundry/Composer FSDP1": Framework(fused=False),
    "torchtitan (FSDP2)": Framework(tensor_overlap=True),
    "Megatron-LM 23e00ed0 / TE 2.11": Framework(overlaps=False),
    "NeMo Automodel (FSDP2, TE)": Framework(flex=True),
    "NeMo 1 / Megatron-Core": Framework(tensor_overlap=True, gradient_bytes=2),
    "NeMo 2 / Megatron-Core": Framework(tensor_overlap=True, gradient_bytes=2),
}


class Site(NamedTuple):
    """Where a source measured. Bandwidths per device and direction, GB/s."""

    kind: str
    """The device, by the name that conf/cluster has for it."""
    memory_gib: float
    peak: float
    per_node: int
    inside: float
    between: float
    fabric: Literal["infiniband", "roce", "omnipath"] = "infiniband"


# Links as the sources say, else those of the devices' data sheets and usual adapters.
SITES = {
    "A100-SXM-80": Site("NVIDIA-A100-SXM4-80GB", 80, 312, 8, 300, 25),
    "A100-SXM-40": Site("NVIDIA-A100-SXM4-40GB", 40, 312, 8, 300, 25),
    "H100-SXM-80": Site("NVIDIA-H100-80GB-HBM3", 79, 989, 8, 450, 50),
    "H100-SXM-96": Site("NVIDIA-H100-96GB-HBM2e", 94, 989, 8, 450, 50),
    "H200-SXM": Site("NVIDIA-H200", 140, 989, 8, 450, 50),
    "B200-SXM": Site("NVIDIA-B200", 179, 2250, 8, 900, 50),
    "B300-SXM": Site("NVIDIA-B300", 268, 2250, 8, 900, 100),
    "Blackwell": Site("NVIDIA-B200", 184, 2250, 8, 900, 50),
    "GB200": Site("NVIDIA-GB200", 186, 2500, 4, 900, 50),
    "GB300": Site("NVIDIA-GB300", 278, 2500, 4, 900, 100),
    "V100-SXM2-32": Site("NVIDIA-V100-SXM2-32GB", 32, 125, 4, 150, 12.5, "omnipath"),
    "V100-SXM2-16": Site("NVIDIA-V100-SXM2-16GB", 16, 125, 4, 150, 12.5, "omnipath"),
}
# Jean Zay's nodes of 8 A100 have 4 Omni-Path links of 100 Gb/s.
JEAN_ZAY = SITES["A100-SXM-80"]._replace(between=6.25, fabric="omnipath")
# Speed of the first FlashAttention, in Triton and no slower at heads of 64, beside the best kernels of each device (the
# second one on A100, the third on H100), forward and backward; fitted, as llm-foundry's rows are all there are of it.
FLASH_1 = {"A100": (0.82, 0.475), "H100": (0.74, 0.26)}


class Case(NamedTuple):
    """A row that can be planned."""

    row: Row
    config: RunConfig
    grid: Grid
    spans: list[range]
    """Layers of each model chunk; the embedding is layer 0, the head the last one."""
    framework: Framework
    seconds: float


def site_of(row: Row) -> Site:
    """Where a row was measured."""
    if row.text("set").startswith("bloom"):
        return JEAN_ZAY
    site = SITES[row.text("gpu").split(" ")[0]]
    return site._replace(fabric="roce") if row.text("set") == "llm-foundry" else site


def framework_of(row: Row) -> Framework:
    """What the row's framework did; its own switches where the source names them."""
    framework = FRAMEWORKS.get(row.text("framework"), Framework())
    traits = framework.traits
    if row.text("set") == "torchtitan":
        framework = framework._replace(fused="compile: none" not in row.text("note"))
    if row.text("model") == "gpt-oss-120b":  # clamped SwiGLU with biases of experts, attention with sinks
        framework = framework._replace(fused=False)
    if row.text("framework") == "llm-foundry/Composer FSDP1":
        speeds, size = FLASH_1[row.text("gpu")[:4]], row.number("hidden") // row.number("heads")
        ahead, back = (speed * softmax(size) for speed in speeds)
        framework = framework._replace(
            traits=traits._replace(attention_pace=ahead, attention_backward_pace=back)
        )
    if "HybridEP" in row.text("note"):
        framework = framework._replace(flex=True)
    if row.text("framework") == "Megatron-LM 2021" and row.number("pp") == 1:
        framework = framework._replace(overlaps=True)  # torch's DDP there (examples/sc21), its own elsewhere
    if "all overlap switches off" in row.text("overlap") or "grad-reduce off" in row.text("overlap"):
        framework = framework._replace(overlaps=False)
    if "all overlap switches off" in row.text("overlap"):
        framework = framework._replace(traits=traits._replace(tensor_async=False))
    if "fp32 grad" in row.text("precision"):
        framework = framework._replace(gradient_bytes=4)
    if "pure" in row.text("precision"):
        framework = framework._replace(gradient_bytes=2)
    if not traits.flash and row.text("recompute").startswith("selective"):
        framework = framework._replace(traits=traits._replace(scores_again=True))
    return framework


def case_of(row: Row) -> Case:
    """A row as a configuration; see slipway.plan for what evaluates it."""
    framework, config = framework_of(row), _config(row)
    seconds = row.seconds
    if seconds is None:  # from TFLOP/s, recomputation not counted
        done = family(config).sample(config).flops * config.training.global_batch_size
        seconds = done / (float(row.text("tflops_gpu")) * 1e12 * row.number("gpus"))
    grid = Grid.of(config.parallelism, row.number("gpus"))
    spans = _spans(row.number("layers"), grid.pp, config.parallelism.virtual_stages)
    return Case(row, config, grid, spans, framework, seconds)


@cache
def _base() -> RunConfig:
    words = ["model=gpt3_125m", "data=stdlib", "data.allow_large_models=true", "cluster=slurm"]
    return compose([*words, "training.precision=bf16", "resources.devices_per_node=1"])


def _config(row: Row) -> RunConfig:
    base, site, framework = _base(), site_of(row), framework_of(row)
    gpus = row.number("gpus")
    per_node = min(site.per_node, gpus)
    cluster = base.cluster.model_copy(
        update={
            "name": row.text("set"),
            "device": Device(
                kind="cuda", name=site.kind, memory_gib=site.memory_gib, peak_tflops_bf16=site.peak
            ),
            "network": Network(
                intra_node_gb_per_s=site.inside, inter_node_gb_per_s=site.between, fabric=site.fabric
            ),
            "devices_per_node": per_node,
        }
    )
    sizes = {"global_batch_size": row.number("gbs"), "micro_batch_size": row.number("mbs"), "steps": 1000}
    training = base.training.model_copy(update={**sizes, **_recompute(row)})
    nodes = {"nodes": -(-gpus // per_node), "devices_per_node": per_node}
    return base.model_copy(
        update={
            "cluster": cluster,
            "model": _model(row),
            "data": base.data.model_copy(update={"sequence_length": row.number("seq")}),
            "training": training,
            "parallelism": _layout(row, framework),
            "kernels": Kernels() if framework.fused else _eager(),
            "resources": base.resources.model_copy(update=nodes),
        }
    )


def _eager() -> Kernels:
    """Each operator by kernels of torch's own."""
    return Kernels(
        norm="torch", linear="unfused", activation="unfused", rotary="unfused", cross_entropy="unfused"
    )


def _model(row: Row) -> Config:
    """squared ReLU has the products of GELU, ALiBi costs what no position embedding costs."""
    heads, hidden = row.number("heads"), row.number("hidden")
    swiglu = "swiglu" in row.text("arch")
    experts = row.number("experts", 0) or None
    llama = swiglu or "relu2" in row.text("arch")
    return Config(
        name=row.text("model"),
        num_layers=row.number("layers"),
        hidden_size=hidden,
        num_attention_heads=heads,
        num_query_groups=row.number("kv_groups", heads),
        kv_channels=_head_size(row, hidden // heads),
        ffn_hidden_size=row.number("moe_ffn") if experts else row.number("ffn", 4 * hidden),
        vocab_size=row.number("vocab"),
        max_position_embeddings=row.number("seq"),
        position_embedding_type="rope" if llama else "learned_absolute",
        normalization="RMSNorm" if swiglu else "LayerNorm",
        activation="swiglu" if swiglu else "gelu",
        add_bias_linear=not llama,
        untie_embeddings_and_output_weights=llama,
        num_moe_experts=experts,
        moe_router_topk=row.number("topk", 2),
    )


def _head_size(row: Row, size: int) -> int:
    """Where heads x size is not the width: gpt-oss (64), Qwen3 (128), by their model cards."""
    for name, own in (("gpt-oss", 64), ("qwen3", 128)):
        if row.text("model").startswith(name):
            return own
    return size


def _recompute(row: Row) -> dict[str, object]:
    """Named modules by our names.

    Not stated: what the recipe has (gpt-oss of Megatron-Bridge), whole layers for Llama 3 70B sharded by FSDP, which
    fits no other way, else none.
    """
    text = row.text("recompute")
    if text == "full":
        return {"recompute": "full"}
    if text.startswith("selective: mlp"):
        return {"recompute": "selective", "recompute_modules": ["mlp"]}
    if text.startswith(
        "selective (op-level"
    ):  # all but products, and every other product: about a third of them
        return {"recompute": "selective", "recompute_modules": ["norm", "mlp"]}
    if text == "selective: core_attn":  # flash attention does it anyway, see Framework.scores_again
        return {"recompute": "none"}
    if text == "" and row.text("model") == "gpt-oss-120b" and row.text("gpu").startswith(("H100", "B200")):
        return {"recompute": "selective", "recompute_modules": ["norm", "activation"]}
    if text == "" and row.text("model") == "llama3-70b" and "FSDP" in row.text("dp_shard"):
        return {"recompute": "full"}
    return {"recompute": "none"}


def _layout(row: Row, framework: Framework) -> Parallelism:
    shard, tp = row.text("dp_shard"), row.number("tp")
    strategy = None
    if "FSDP" in shard:
        strategy = "optim_grads" if "ZeRO-2" in shard else "optim_grads_params"
    virtual = row.number("vpp", 1)
    sharded = shard not in ("none", "")
    return Parallelism(
        tensor_model_parallel_size=tp,
        pipeline_model_parallel_size=row.number("pp"),
        virtual_pipeline_model_parallel_size=virtual if virtual > 1 else None,
        context_parallel_size=row.number("cp"),
        expert_model_parallel_size=row.number("ep", 1),
        sequence_parallel=tp > 1 and row.text("sp") == "yes",
        use_distributed_optimizer=sharded,
        data_parallel_sharding_strategy=strategy,
        overlap_grad_reduce=framework.overlaps or strategy is not None,
        overlap_param_gather=(framework.overlaps and sharded) or strategy is not None,
        overlap_p2p_comm=virtual > 1 and framework.overlaps if virtual > 1 else None,
        moe_token_dispatcher_type="flex" if framework.flex else None,
        tp_comm_overlap=True if framework.tensor_overlap and tp > 1 and row.text("sp") == "yes" else None,
    )


def _spans(layers: int, stages: int, virtual: int) -> list[range]:
    """Chunks in pipeline order, as even as can be.

    Where layers do not divide but two more would, the embedding and the head take a layer's place each, as in
    Megatron-core's `account_for_embedding_in_pipeline_split` and in BLOOM's last runs.
    """
    chunks = stages * virtual
    each, rest = divmod(layers, chunks)
    counts = [each + (chunk < rest) for chunk in range(chunks)]
    if rest and not (layers + 2) % chunks:
        slot = (layers + 2) // chunks
        counts = [slot] * chunks
        counts[0] -= 1
        counts[-1] -= 1
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    ends = [start + 1 for start in starts]  # the embedding stands in front
    ends[0], ends[-1] = 0, layers + 2
    return [range(ends[chunk], ends[chunk + 1]) for chunk in range(chunks)]
