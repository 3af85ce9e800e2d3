"""Mixtures of experts of today in plain PyTorch: shared experts, groups, sigmoid scores, biases that even the loads.

Written anew from the papers, beside plain.py, whose attention, norms and optimizer it uses: DeepSeek-V3 (arXiv
2412.19437, section 2.1.2) for scores, groups, biases and the loss of each sequence; ST-MoE (arXiv 2202.08906) for the
router's z loss. Shares no code with Slipway or Megatron-core.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reference import plain
from reference.plain import Batch, Line, Settings, Weights

FAULTS = (
    "biases weigh",
    "biases stay",
    "groups are ignored",
    "not scaled",
    "the loss sees groups and biases",
    "the shared expert is scaled",
    "balanced over samples together",
    "no z loss",
)


@dataclass(frozen=True)
class Mixture:
    """What the weights' shapes do not say, beside plain.Model."""

    topk: int
    score: str = "softmax"  # or "sigmoid"
    groups: int = 1
    visited: int = 1  # groups that a token visits
    scale: float = 1.0
    rate: float = 0.0  # of the biases; 0: none
    balance: float = 0.0
    z: float = 0.0


def train(
    model: plain.Model,
    mixture: Mixture,
    weights: Weights,
    batches: Sequence[Batch],
    settings: Settings,
    fault: str = "",
) -> tuple[list[Line], Weights]:
    """The lines and the weights after all batches. The biases, `layer.bias`, are among the weights."""
    biases = {name: weight.double() for name, weight in weights.items() if name.endswith(".bias")}

    def loss_of(seen: Weights, batch: Batch) -> tuple[Tensor, Tensor]:
        each, beside, loads = losses(model, mixture, seen, biases, batch, fault)
        counted = batch["loss_mask"].sum()
        for name, load in loads.items():
            if mixture.rate and fault != "biases stay":
                biases[name] = biases[name] + mixture.rate * torch.sign(load.mean() - load)
        loss = each.sum() / counted
        return loss, loss + beside.sum() * each.shape[1] / counted

    trained = {name: weight for name, weight in weights.items() if name not in biases}
    lines, ended = plain.optimize(loss_of, trained, batches, settings)
    return lines, ended | biases


def losses(
    model: plain.Model, mixture: Mixture, weights: Weights, biases: Weights, batch: Batch, fault: str = ""
) -> tuple[Tensor, Tensor, Weights]:
    """Each token's cross entropy [b, s]; each sample's further losses [b]; each layer's loads [experts] by bias."""
    x = weights["embedding"][batch["tokens"]]
    beside, loads = x.new_zeros(len(x)), {}
    for number in range(model.layers):
        own = {name.split(".", 1)[1]: w for name, w in weights.items() if name.startswith(f"{number}.")}
        x = x + plain.attention(model, own, plain.norm(model, own, "norm1", x))
        normed = plain.norm(model, own, "norm2", x)
        if "router" not in own:
            x = x + plain.mlp(normed, own["in.weight"], own["out.weight"])
            continue
        bias = biases.get(f"{number}.bias", normed.new_zeros(len(own["router"])))
        mixed, here, load = experts(mixture, own, bias, normed, fault)
        x, beside = x + mixed, beside + here
        if f"{number}.bias" in biases:
            loads[f"{number}.bias"] = load
    table = weights.get("output", weights["embedding"])
    logits = (plain.norm(model, weights, "norm", x) @ table.T)[..., : model.vocabulary]
    each = F.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none")
    return each * batch["loss_mask"], beside, loads


def experts(
    mixture: Mixture, weights: Weights, bias: Tensor, x: Tensor, fault: str = ""
) -> tuple[Tensor, Tensor, Tensor]:
    """What a layer's experts return [b, s, h], each sample's losses [b], and the loads [experts], tokens."""
    logits = x @ weights["router"].T
    scores = logits.sigmoid() if mixture.score == "sigmoid" else logits.softmax(-1)
    chosen = choose(mixture, scores + bias, fault)
    weighing = scores + bias if fault == "biases weigh" else scores
    shares = weighing * chosen / (weighing * chosen).sum(-1, keepdim=True)
    shares = shares * (1.0 if fault == "not scaled" else mixture.scale)
    outputs = [
        plain.mlp(x, into, out)
        for into, out in zip(weights["in.experts"], weights["out.experts"], strict=True)
    ]
    mixed = torch.stack([shares[..., [e]] * output for e, output in enumerate(outputs)]).sum(0)
    if "shared.in" in weights:
        shared = plain.mlp(x, weights["shared.in"], weights["shared.out"])
        mixed = mixed + (mixture.scale * shared if fault == "the shared expert is scaled" else shared)
    # the loss is of the scores' own best experts: what biases and groups have changed is none of its business
    best = torch.zeros_like(scores).scatter(-1, scores.topk(mixture.topk).indices, 1.0)
    visits = (chosen if fault == "the loss sees groups and biases" else best).mean(1) / mixture.topk
    if fault == "balanced over samples together":
        visits = visits.mean(0, keepdim=True)
    shared_out = (scores / scores.sum(-1, keepdim=True)).mean(1)
    beside = mixture.balance * len(bias) * (visits * shared_out).sum(-1)
    if fault != "no z loss":
        beside = beside + mixture.z * logits.logsumexp(-1).square().mean(1)
    return mixed, beside, chosen.sum((0, 1))


def choose(mixture: Mixture, scores: Tensor, fault: str = "") -> Tensor:
    """One for the experts that a token visits, zero for the others: the best of its best groups."""
    if mixture.groups > 1 and fault != "groups are ignored":
        grouped = scores.unflatten(-1, (mixture.groups, -1))
        of_group = grouped.topk(mixture.topk // mixture.visited).values.sum(-1)
        visited = torch.zeros_like(of_group).scatter(-1, of_group.topk(mixture.visited).indices, 1.0)
        scores = grouped.masked_fill(visited[..., None] == 0, -torch.inf).flatten(-2)
    return torch.zeros_like(scores).scatter(-1, scores.topk(mixture.topk).indices, 1.0)
