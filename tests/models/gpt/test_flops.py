"""FLOP of a sample against torch's own count of what models in plain PyTorch do, and against the papers' formulas."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from megatron.core.transformer.enums import AttnMaskType
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from float64 import CONFIG
from reference import mixtures, plain
from slipway.bench.plain_gpt import PlainGPT
from slipway.config.compose import compose
from slipway.kernels.attention import TorchAttention
from slipway.kernels.spans import attended_share, spans_of_samples
from slipway.models import family
from slipway.models.gpt import counts
from slipway.models.gpt.config import Config, gpt_of

SMALL = ["model=demo", "model.num_layers=2", "model.hidden_size=24", "model.num_attention_heads=4"]
SMALL += ["model.vocab_size=61", "model.max_position_embeddings=32"]
LLAMA = ["model.num_query_groups=2", "model.kv_channels=8", "model.ffn_hidden_size=40"]
LLAMA += ["model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"]
LLAMA += ["model.position_embedding_type=rope", "model.untie_embeddings_and_output_weights=true"]
MIXTURE = [*LLAMA, "model.num_moe_experts=3", "model.moe_router_topk=3"]  # the reference visits all


def counted(run: Callable[[], Tensor]) -> int:
    """What torch counts forward and backward; it takes attention's whole square, causal or not."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run().sum().backward()
    return counter.get_total_flops()


def plain_loss(model: Config, length: int, samples: int = 1) -> Callable[[], Tensor]:
    network, tokens = PlainGPT(model), torch.zeros(samples, length, dtype=torch.long)
    return lambda: network(tokens, tokens)


@pytest.mark.parametrize("more", [[], LLAMA], ids=["gpt", "llama"])
@pytest.mark.parametrize("length", [5, 32])
def test_what_a_plain_model_does(more: list[str], length: int) -> None:
    model = gpt_of(compose([*SMALL, *more]))
    assert counted(plain_loss(model, length, samples=3)) == 3 * counts.flops_per_sample(model, length)


def test_what_a_plain_mixture_does() -> None:
    model = gpt_of(compose([*SMALL, *MIXTURE]))
    hidden, width, wide, experts = 24, 32, 40, 3
    sizes: dict[str, tuple[int, ...]] = {
        "embedding": (model.padded_vocab_size, hidden),
        "norm.weight": (hidden,),
    }
    sizes["output"] = sizes["embedding"]
    for number in range(2):
        layer = {"norm1.weight": (hidden,), "norm2.weight": (hidden,), "router": (experts, hidden)}
        layer |= {"qkv.weight": (width + 2 * 2 * 8, hidden), "proj.weight": (hidden, width)}
        layer |= {"in.experts": (experts, 2 * wide, hidden), "out.experts": (experts, hidden, wide)}
        sizes |= {f"{number}.{name}": size for name, size in layer.items()}
    weights = {name: torch.rand(size, dtype=torch.float64).requires_grad_() for name, size in sizes.items()}
    shape = plain.Model(
        layers=2, vocabulary=model.vocab_size, heads=4, groups=2, norm="rms", rotary_base=500000, topk=experts
    )
    batch = {name: torch.zeros(1, 16, dtype=torch.long) for name in ("tokens", "labels")}
    batch["loss_mask"] = torch.ones(1, 16)
    assert counted(lambda: plain.losses(shape, weights, batch)[0]) == counts.flops_per_sample(model, 16)


@pytest.mark.parametrize("rank", [10, None])
def test_what_a_plain_latent_attention_does(rank: int | None) -> None:
    words = [
        "model.multi_latent_attention=true",
        f"model.q_lora_rank={rank or 'null'}",
        "model.kv_lora_rank=6",
    ]
    words += ["model.qk_head_dim=5", "model.qk_pos_emb_head_dim=4", "model.v_head_dim=7"]
    model = gpt_of(compose([*SMALL, *LLAMA[2:], *words]))
    hidden, heads, wide, table = 24, 4, 40, (model.padded_vocab_size, 24)
    layer: dict[str, tuple[int, ...]] = {"norm1.weight": (hidden,), "norm2.weight": (hidden,)}
    layer |= {"kv_down.weight": (6 + 4, hidden), "kv_norm.weight": (6,), "kv_up.weight": (heads * (5 + 7), 6)}
    layer |= {
        "proj.weight": (hidden, heads * 7),
        "in.weight": (2 * wide, hidden),
        "out.weight": (hidden, wide),
    }
    if rank:
        layer |= {"q_down.weight": (rank, hidden), "q_norm.weight": (rank,), "q_up.weight": (heads * 9, rank)}
    else:
        layer["q.weight"] = (heads * 9, hidden)
    sizes = {"embedding": table, "norm.weight": (hidden,), "output": table}
    sizes |= {f"{number}.{name}": size for number in range(2) for name, size in layer.items()}
    weights = {name: torch.rand(size, dtype=torch.float64).requires_grad_() for name, size in sizes.items()}
    shape = plain.Model(
        layers=2,
        vocabulary=model.vocab_size,
        heads=heads,
        groups=heads,
        norm="rms",
        rotary_base=1e4,
        turned=4,
    )
    batch = {name: torch.zeros(1, 16, dtype=torch.long) for name in ("tokens", "labels")}
    batch["loss_mask"] = torch.ones(1, 16)
    assert counted(lambda: plain.losses(shape, weights, batch)[0]) == counts.flops_per_sample(model, 16)
    assert counts.active_parameters(model) == sum(weight.numel() for weight in weights.values())


def test_what_a_plain_mixture_of_today_does() -> None:
    """A dense layer, then one with a shared expert of another width than the MLP."""
    more = ["model.first_k_dense_replace=1", "model.moe_ffn_hidden_size=8"]
    more += ["model.moe_shared_expert_intermediate_size=16"]
    model = gpt_of(compose([*SMALL, *MIXTURE, *more]))
    hidden, width, wide, narrow, shared, experts = 24, 32, 40, 8, 16, 3
    sizes: dict[str, tuple[int, ...]] = {
        "embedding": (model.padded_vocab_size, hidden),
        "norm.weight": (hidden,),
    }
    sizes["output"] = sizes["embedding"]
    for number in range(2):
        layer = {"norm1.weight": (hidden,), "norm2.weight": (hidden,), "proj.weight": (hidden, width)}
        layer["qkv.weight"] = (width + 2 * 2 * 8, hidden)
        if number:
            layer |= {"router": (experts, hidden), "shared.in": (2 * shared, hidden)}
            layer |= {"in.experts": (experts, 2 * narrow, hidden), "out.experts": (experts, hidden, narrow)}
            layer["shared.out"] = (hidden, shared)
        else:
            layer |= {"in.weight": (2 * wide, hidden), "out.weight": (hidden, wide)}
        sizes |= {f"{number}.{name}": size for name, size in layer.items()}
    weights = {name: torch.rand(size, dtype=torch.float64).requires_grad_() for name, size in sizes.items()}
    shape = plain.Model(
        layers=2, vocabulary=model.vocab_size, heads=4, groups=2, norm="rms", rotary_base=500000
    )
    batch = {name: torch.zeros(1, 16, dtype=torch.long) for name in ("tokens", "labels")}
    batch["loss_mask"] = torch.ones(1, 16)
    mixture = mixtures.Mixture(topk=experts)
    found = counted(lambda: mixtures.losses(shape, mixture, weights, {}, batch)[0])
    assert found == counts.flops_per_sample(model, 16)
    # counted by hand: all but the table that is looked up, what a token of three experts meets of two
    total = sum(weight.numel() for weight in weights.values())
    expert = 3 * narrow * hidden
    two = model.model_copy(update={"moe_router_topk": 2})
    assert counts.active_parameters(two) == total - expert


@pytest.mark.parametrize("more", [[], LLAMA], ids=["gpt", "llama"])
def test_palms_convention(more: list[str]) -> None:
    """6 N + 12 L H Q T a token; N: the parameters of a model that somebody else's code has built."""
    model = gpt_of(compose([*SMALL, *more]))
    n = sum(parameter.numel() for parameter in PlainGPT(model).parameters())
    heads, each = (4, 8) if more else (4, 6)
    assert counts.palm_flops(model, 32) == 32 * (6 * n + 12 * 2 * heads * each * 32)


DOCUMENTS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=3)


def starts_of(samples: list[list[int]]) -> Tensor:
    """document_starts of samples of the same length, from their documents' lengths; the last ones are filled up."""
    length = max(map(sum, samples))
    rows = []
    for lengths in samples:
        rest = [length - sum(lengths)] if sum(lengths) < length else []
        begins = torch.tensor([0, *lengths, *rest]).cumsum(0)
        rows.append(begins[:-1].repeat_interleave(begins.diff()))
    return torch.stack(rows)


@given(DOCUMENTS)
def test_the_attended_share_is_that_of_the_documents_squares(samples: list[list[int]]) -> None:
    starts = starts_of(samples)
    total, number = attended_share(starts).tolist()
    pairs = (starts[:, :, None] == starts[:, None, :]).sum().item()  # of tokens of the same document
    assert number == len(samples)
    assert total == pytest.approx(pairs / starts.shape[1] ** 2)


def test_documents_apart_are_counted_as_each_by_itself() -> None:
    model = gpt_of(compose([*SMALL, *LLAMA]))
    documents = [7, 1, 20, 4]
    total, number = attended_share(starts_of([documents])).tolist()
    spared = counts.attention_flops(model, 32) * (1 - total / number)
    each = sum(counted(plain_loss(model, length)) for length in documents)
    assert counts.flops_per_sample(model, 32) - spared == pytest.approx(each)


def test_documents_apart_are_counted_as_the_kernel_computes_them() -> None:
    """torch's count of the attention that trains: 12 w times the squares, forward and backward."""
    starts, heads, each = starts_of([[7, 1, 20, 4], [32]]), 4, 8
    q, k, v = (torch.rand(32, 2, heads, each, requires_grad=True) for _ in range(3))
    attention = TorchAttention(CONFIG, 1, AttnMaskType.causal, "self")
    found = counted(lambda: attention(q, k, v, spans_of_samples(starts, 0, 1)))
    total, _ = attended_share(starts).tolist()
    assert found == 12 * heads * each * round(total * 32**2)


WINDOW = [*LLAMA, "model.window_size=8", "model.window_attn_skip_freq=2"]  # of the first layer


def test_a_window_counts_each_token_with_as_many_as_it_sees() -> None:
    whole, model = (gpt_of(compose([*SMALL, *more])) for more in (LLAMA, WINDOW))
    heads, each = 4, 8
    seen = torch.rand(
        32, heads, 8, each, requires_grad=True
    )  # for each token the keys, or values, of its window
    q = torch.rand(32, heads, 1, each, requires_grad=True)
    band = counted(lambda: (q @ seen.transpose(-1, -2)).softmax(-1) @ seen)
    less = counts.attention_flops(whole, 32) // 2 - band
    assert counts.flops_per_sample(whole, 32) - counts.flops_per_sample(model, 32) == less > 0
    assert counts.palm_flops(whole, 32) - counts.palm_flops(model, 32) == less
    assert counts.costs(model, 32, ()).layers[0] < counts.costs(model, 32, ()).layers[1]


@given(DOCUMENTS, st.lists(st.one_of(st.none(), st.integers(1, 12)), min_size=1, max_size=4))
def test_the_attended_share_of_windows_is_that_of_each_document_by_itself(
    samples: list[list[int]], windows: list[int | None]
) -> None:
    starts = starts_of(samples)
    length = starts.shape[1]
    parts = [[*lengths, length - sum(lengths)] for lengths in samples]
    each = [sum(d * min(d, w or d) for own in parts for d in own) for w in windows]
    total, number = attended_share(starts, windows).tolist()
    assert number == len(samples)
    assert total == pytest.approx(sum(each) / sum(length * min(length, w or length) for w in windows))


def test_keys_and_values_are_those_that_later_tokens_see() -> None:
    config = compose([*SMALL, *WINDOW])
    kept = family(config).sample(config).key_values
    assert kept is not None
    token = 2 * 2 * 8 * 4  # keys and values, of two groups of 8 channels, fp32
    assert (kept.per_token, kept.context, kept.whole) == (2 * token, 32, (8 + 32) * token)


def test_the_family_tells_all_of_it() -> None:
    config = compose([*SMALL, *LLAMA])
    model, sample = gpt_of(config), family(config).sample(config)
    assert (sample.flops, sample.palm_flops, sample.attention_flops) == (
        counts.flops_per_sample(model, 32),
        counts.palm_flops(model, 32),
        counts.attention_flops(model, 32),
    )
