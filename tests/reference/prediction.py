"""Multi-token prediction in plain PyTorch, written anew from DeepSeek-V3 (arXiv 2412.19437, section 2.2).

It shares no code with Slipway or Megatron-core, and finds targets another way: position by position, from the tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reference import plain

FAULTS = (
    "targets are labels",
    "embeddings are of the same token",
    "embedding and state change places",
    "states are not normalized",
    "means are of each depth's own targets",
    "targets of other documents count",
)


def losses(
    model: plain.Model, weights: plain.Weights, batch: plain.Batch, depths: int, fault: str = ""
) -> tuple[list[Tensor], list[int]]:
    """Of the model itself and of each depth: the sum of losses, and how many targets there are. Dense layers alone."""
    table, starts = weights["embedding"], batch.get("document_starts")
    length, tokens = batch["tokens"].shape[1], torch.cat([batch["tokens"], batch["labels"][:, -1:]], 1)
    x = table[batch["tokens"]]
    for number in range(model.layers):
        x = layer(model, part(weights, f"{number}."), x, starts)
    states = plain.norm(model, weights, "norm", x)
    sums, numbers = [], []
    for depth in range(depths + 1):
        if depth:
            mine = part(weights, f"mtp.{depth - 1}.")
            ahead = 0 if fault == "embeddings are of the same token" else depth
            embedded = table[tokens[:, [min(place + ahead, length) for place in range(length)]]]
            both = [plain.norm(model, mine, "enorm", embedded), plain.norm(model, mine, "hnorm", states)]
            if fault == "states are not normalized":
                both[1] = states * mine["hnorm.weight"]
            if fault == "embedding and state change places":
                both.reverse()
            x = layer(model, mine, torch.cat(both, -1) @ mine["project"].T, starts)
            states = plain.norm(model, mine, "norm", x)
        logits = (states @ weights.get("output", table).T)[..., : model.vocabulary]
        places, targets = [], []
        for sample in range(len(tokens)):
            for place in range(length):
                behind = place + (0 if fault == "targets are labels" else depth)  # whose label is the target
                if behind >= length or not batch["loss_mask"][sample, behind]:
                    continue
                apart = starts is not None and starts[sample, behind] != starts[sample, place]
                if apart and fault != "targets of other documents count":
                    continue
                places.append((sample, place))
                targets.append(int(tokens[sample, behind + 1]))
        chosen = torch.stack([logits[at] for at in places])
        sums.append(F.cross_entropy(chosen, torch.tensor(targets), reduction="sum"))
        numbers.append(len(targets))
    return sums, numbers


def layer(model: plain.Model, own: plain.Weights, x: Tensor, starts: Tensor | None) -> Tensor:
    """A pre-norm layer with a dense MLP."""
    x = x + plain.attention(model, own, plain.norm(model, own, "norm1", x), starts)
    into, out = own["in.weight"], own["out.weight"]
    return x + plain.mlp(
        plain.norm(model, own, "norm2", x), into, out, own.get("in.bias"), own.get("out.bias")
    )


def part(weights: plain.Weights, prefix: str) -> plain.Weights:
    """The weights of a layer by its own names."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
