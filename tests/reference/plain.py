"""GPT-2, Llama 3, Mixtral and later kinds of attention in plain PyTorch, and their training, in float64 on one process.

Written anew from the papers; shares no code with Slipway or Megatron-core, so that it can tell when all layouts are
wrong alike. A model is a function of named weights; each layer's are named `layer number.name`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Batch = dict[str, Tensor]
"""tokens, labels and loss_mask, [samples, length]; where documents are apart also position_ids and document_starts."""
OwnUpdate = Callable[[str, Tensor, Tensor, float], Tensor | None]
"""From a weight's name, itself, its gradient and the learning rate: the new weight; None: it is not among its own."""
FAULTS = (
    "norms are decayed",
    "no bias correction",
    "clipped after the moments",
    "warm-up begins at zero",
    "embeddings are scaled",
    "averaged over samples",
)
FAULTS_OF_ATTENTION = ("windows are ignored",)


@dataclass(frozen=True)
class Model:
    """What the weights' shapes do not say."""

    layers: int
    vocabulary: int  # rows of the tables from here on are padding
    heads: int
    groups: int  # of heads that share keys and values
    norm: str = "layer"  # or "rms"
    rotary_base: float = 0.0  # 0: learned positions
    rotary_factor: float = 0.0  # Llama 3.1's stretching; 0: none
    turned: int = 0  # of latent attention, a head's channels that positions turn; 0: no latent attention
    yarn: tuple[float, float, float, float] | None = None  # factor, original length, beta_fast, beta_slow
    window: int = 0  # tokens that a token sees, itself included; 0: all before it
    full_every: int = 0  # every so manieth layer has no window; 0: none
    topk: int = 0  # experts that a token visits; 0: no experts
    balance: float = 0.0  # weight of the load-balancing loss


@dataclass(frozen=True)
class Settings:
    """How it is trained."""

    steps: int
    lr: float
    min_lr: float
    warmup: int
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    clip: float


@dataclass(frozen=True)
class Line:
    """What a step has computed before its update."""

    loss: float
    grad_norm: float


def train(
    model: Model,
    weights: Weights,
    batches: Sequence[Batch],
    settings: Settings,
    *,
    bf16: bool = False,
    fault: str = "",
    own: OwnUpdate | None = None,
) -> tuple[list[Line], Weights]:
    """The lines and the weights after all batches.

    bf16: the model sees the weights rounded. fault: one of FAULTS, or of FAULTS_OF_ATTENTION.
    own: what makes the updates of some of the weights; all others have AdamW's.
    """

    def loss_of(seen: Weights, batch: Batch) -> tuple[Tensor, Tensor]:
        each, uneven = losses(model, seen, batch, fault)
        counted = batch["loss_mask"].sum(1)
        loss = each.sum() / counted.sum()
        if fault == "averaged over samples":
            loss = (each.sum(1) / counted).mean()
        return loss, loss + model.balance * uneven.sum() * each.shape[1] / counted.sum()

    return optimize(loss_of, weights, batches, settings, bf16=bf16, fault=fault, own=own)


def optimize(
    loss_of: Callable[[Weights, Batch], tuple[Tensor, Tensor]],
    weights: Weights,
    batches: Sequence[Batch],
    settings: Settings,
    *,
    bf16: bool = False,
    fault: str = "",
    own: OwnUpdate | None = None,
) -> tuple[list[Line], Weights]:
    """The same for any model; loss_of: the loss that is told, and what is differentiated."""
    weights = {name: weight.double() for name, weight in weights.items()}
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    lines = []
    for step, batch in enumerate(batches, start=1):
        seen = {
            n: (w.bfloat16().double() if bf16 else w.clone()).requires_grad_() for n, w in weights.items()
        }
        loss, whole = loss_of(seen, batch)
        gradients = dict(zip(seen, torch.autograd.grad(whole, list(seen.values())), strict=True))
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
        lines.append(Line(loss.item(), norm))
        cut = min(1.0, settings.clip / norm)
        late = fault == "clipped after the moments"
        rate = learning_rate(settings, step - (fault == "warm-up begins at zero"))
        for name, weight in weights.items():
            gradient = gradients[name] if late else cut * gradients[name]
            updated = None if own is None else own(name, weight, gradient, rate)
            if updated is not None:
                weights[name] = updated
                continue
            first[name] = settings.beta1 * first[name] + (1 - settings.beta1) * gradient
            second[name] = settings.beta2 * second[name] + (1 - settings.beta2) * gradient**2
            uncorrected = fault == "no bias correction"
            mean = first[name] if uncorrected else first[name] / (1 - settings.beta1**step)
            square = second[name] if uncorrected else second[name] / (1 - settings.beta2**step)
            change = (cut if late else 1.0) * mean / (square.sqrt() + settings.eps)
            decayed = weight.dim() > 1 or fault == "norms are decayed"
            weights[name] = weight - rate * (change + settings.weight_decay * decayed * weight)
    return lines, weights


def learning_rate(settings: Settings, step: int) -> float:
    """Linear warm-up, whose first step is not zero, then a cosine down to the last step."""
    if step <= settings.warmup:
        return settings.lr * step / settings.warmup
    turned = math.pi * (step - settings.warmup) / (settings.steps - settings.warmup)
    return settings.min_lr + (settings.lr - settings.min_lr) * (1 + math.cos(turned)) / 2


def losses(model: Model, weights: Weights, batch: Batch, fault: str = "") -> tuple[Tensor, Tensor]:
    """Each token's cross entropy [b, s], zero where masked; each sample's load-balancing loss [b], over layers."""
    table = weights["embedding"]
    x = table[batch["tokens"]]  # [b, s, hidden]
    if fault == "embeddings are scaled":
        x = x * math.sqrt(x.shape[-1])
    if not model.rotary_base:
        x = x + weights["positions"][batch.get("position_ids", torch.arange(x.shape[1]))]
    uneven = x.new_zeros(len(x))
    for number in range(model.layers):
        own = {name.split(".", 1)[1]: w for name, w in weights.items() if name.startswith(f"{number}.")}
        full = model.full_every and (number + 1) % model.full_every == 0
        window = 0 if full or fault == "windows are ignored" else model.window
        normed, starts = norm(model, own, "norm1", x), batch.get("document_starts")
        if model.turned:
            x = x + latent_attention(model, own, normed, starts)
        else:
            x = x + attention(model, own, normed, starts, window)
        normed = norm(model, own, "norm2", x)
        if model.topk:
            mixed, here = mixture(model, own, normed)
            x, uneven = x + mixed, uneven + here
        else:
            x = x + mlp(normed, own["in.weight"], own["out.weight"], own.get("in.bias"), own.get("out.bias"))
    logits = (norm(model, weights, "norm", x) @ weights.get("output", table).T)[..., : model.vocabulary]
    each = F.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none")
    return each * batch["loss_mask"], uneven


def norm(model: Model, weights: Weights, name: str, x: Tensor) -> Tensor:
    """LayerNorm or RMSNorm."""
    if model.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
    return x + weights[f"{name}.bias"] if model.norm == "layer" else x


def attention(
    model: Model, weights: Weights, x: Tensor, starts: Tensor | None = None, window: int = 0
) -> Tensor:
    """Causal, from a token's document on; the rows of qkv: for each group its queries' heads, its key's and value's.

    Where there are weights for it, each head's queries and keys are normalized (Qwen3).
    """
    each = model.heads // model.groups
    qkv = F.linear(x, weights["qkv.weight"], weights.get("qkv.bias"))
    qkv = qkv.view(*x.shape[:2], model.groups, each + 2, -1)
    q, k, v = qkv[..., :each, :], qkv[..., each:-1, :], qkv[..., -1:, :]
    if "q_norm.weight" in weights:
        q, k = norm(model, weights, "q_norm", q), norm(model, weights, "k_norm", k)
    if model.rotary_base:
        q, k = rotated(model, q), rotated(model, k)
    k, v = k.expand_as(q), v.expand_as(q)  # shared by the group
    scores = torch.einsum("bsgnd,btgnd->bgnst", q, k) / math.sqrt(q.shape[-1])
    hidden = unseen(x, starts)
    if window:
        hidden = hidden | torch.ones(x.shape[1], x.shape[1]).tril(-window).bool()
    seen = scores.masked_fill(hidden[:, None, None], -math.inf).softmax(-1)
    mixed = torch.einsum("bgnst,btgnd->bsgnd", seen, v).flatten(2)
    return F.linear(mixed, weights["proj.weight"], weights.get("proj.bias"))


def unseen(x: Tensor, starts: Tensor | None) -> Tensor:
    """Which tokens a token does not see, [b, s, s]."""
    hidden = torch.ones(x.shape[1], x.shape[1]).triu(1).bool().expand(len(x), -1, -1)
    return hidden if starts is None else hidden | (torch.arange(x.shape[1]) < starts[..., None])


def latent_attention(model: Model, weights: Weights, x: Tensor, starts: Tensor | None = None) -> Tensor:
    """Equations 37 to 47 of DeepSeek-V2 (arXiv 2405.04434); all heads share the keys' turned channels."""
    heads, turned = model.heads, model.turned
    queries = weights.get("q.weight")
    if queries is None:
        q = norm(model, weights, "q_norm", x @ weights["q_down.weight"].T) @ weights["q_up.weight"].T
    else:
        q = x @ queries.T
    q = q.view(*x.shape[:2], heads, -1)
    plain = q.shape[-1] - turned
    down = x @ weights["kv_down.weight"].T
    state, key = down[..., :-turned], down[..., None, -turned:]
    kv = (norm(model, weights, "kv_norm", state) @ weights["kv_up.weight"].T).view(*x.shape[:2], heads, -1)
    scores = torch.einsum("bsnd,btnd->bnst", q[..., :plain], kv[..., :plain])
    q_turned, k_turned = turned_pairs(model, q[..., plain:]), turned_pairs(model, key)
    scores = scores + torch.einsum("bsnd,btd->bnst", q_turned, k_turned[..., 0, :])
    seen = (scores / math.sqrt(q.shape[-1])).masked_fill(unseen(x, starts)[:, None], -math.inf).softmax(-1)
    mixed = torch.einsum("bnst,btnd->bsnd", seen, kv[..., plain:]).flatten(2)
    return F.linear(mixed, weights["proj.weight"], weights.get("proj.bias"))


def turned_pairs(model: Model, x: Tensor) -> Tensor:
    """Neighbours as a complex number each, turned by position times frequency."""
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    number = pairs.shape[-1]
    frequencies = model.rotary_base ** (-torch.arange(number).double() / number)
    angles = torch.outer(torch.arange(x.shape[1]).double(), frequencies)[:, None]
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def rotated(model: Model, x: Tensor) -> Tensor:
    """Pairs of channels half a head apart turned by position times frequency (RoFormer); Llama 3.1's frequencies."""
    half, frequencies = x.shape[-1] // 2, []
    for pair in range(half):
        frequency = model.rotary_base ** (-pair / half)
        turns = 8192 * frequency / (2 * math.pi)  # in Llama 3's context
        if model.rotary_factor:  # below 1 stretched, above 4 left alone
            share = min(1.0, max(0.0, (turns - 1) / (4 - 1)))
            frequency = share * frequency + (1 - share) * frequency / model.rotary_factor
        if model.yarn:
            factor, length, fast, slow = model.yarn
            # pairs that turn `fast` and `slow` times in the original context, rounded outwards
            first, last = (
                half * math.log(length / (2 * math.pi * turns)) / math.log(model.rotary_base)
                for turns in (fast, slow)
            )
            first, last = max(0, math.floor(first)), min(2 * half - 1, math.ceil(last))
            stretched = min(1.0, max(0.0, (pair - first) / (last - first)))
            frequency = (1 - stretched) * frequency + stretched * frequency / factor
        frequencies.append(frequency)
    angles = torch.outer(torch.arange(x.shape[1]).double(), torch.tensor(frequencies).double())[:, None, None]
    one, other = x[..., :half], x[..., half:]
    if model.yarn:
        one, other = ((0.1 * math.log(model.yarn[0]) + 1) * part for part in (one, other))
    return torch.cat(
        [one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], -1
    )


def mlp(
    x: Tensor, into: Tensor, out: Tensor, bias: Tensor | None = None, back: Tensor | None = None
) -> Tensor:
    """GELU, or SwiGLU where `into` holds the gate's rows and as many more."""
    wide = F.linear(x, into, bias)
    if into.shape[0] > out.shape[1]:
        gate, up = wide.chunk(2, -1)
        return F.linear(gate * gate.sigmoid() * up, out, back)
    return F.linear(wide * (1 + torch.erf(wide / math.sqrt(2))) / 2, out, back)


def mixture(model: Model, weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Each token's best experts, weighted by a softmax over these alone (Mixtral); and how uneven it was (Switch)."""
    logits = x @ weights["router"].T
    best, chosen = logits.topk(model.topk)
    shares = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(-1))
    outputs = [
        mlp(x, into, out) for into, out in zip(weights["in.experts"], weights["out.experts"], strict=True)
    ]
    visits = torch.zeros_like(logits).scatter(-1, chosen, 1.0).mean(1) / model.topk
    uneven = logits.shape[-1] * (visits * logits.softmax(-1).mean(1)).sum(-1)
    return torch.stack([shares[..., [e]] * output for e, output in enumerate(outputs)]).sum(0), uneven
