"""The reference of `slipway bench compare` is the configured model."""

import pytest
import torch

from presets import preset
from slipway.bench.plain_gpt import PlainGPT
from slipway.config.compose import compose
from slipway.models.gpt.config import gpt_of
from slipway.plan import make_plan

SMALL = ["model.num_layers=2", "model.hidden_size=48", "model.num_attention_heads=4", "model.vocab_size=257"]
SMALL += ["data.tokenizer.vocab_size=257"]
KINDS = {
    "gpt": [*preset("gpt3_125m"), "model.kv_channels=12"],
    "llama": [
        *preset("llama3_8b"),
        "parallelism=single",
        "model.num_query_groups=2",
        "model.ffn_hidden_size=100",
    ]
    + ["model.kv_channels=null", "model.rope_scaling=null"],
    "demo": ["model=demo"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_parameters_as_planned_and_a_loss_that_learns(kind: str) -> None:
    config = compose([*KINDS[kind], *SMALL, "data.sequence_length=32"])
    torch.manual_seed(0)
    model = PlainGPT(gpt_of(config))
    assert sum(p.numel() for p in model.parameters()) == make_plan(config).parameters
    tokens = torch.randint(257, (2, 33), generator=torch.Generator().manual_seed(1))
    loss = model(tokens[:, :-1], tokens[:, 1:])
    assert loss.item() == pytest.approx(torch.tensor(257.0).log().item(), abs=0.2)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    assert model(tokens[:, :-1], tokens[:, 1:]) < loss


def test_no_token_sees_the_future() -> None:
    config = compose([*KINDS["llama"], *SMALL, "data.sequence_length=32"])
    model = PlainGPT(gpt_of(config))
    tokens = torch.randint(257, (1, 8), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 257
    seen: list[torch.Tensor] = []
    model.norm.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    model(tokens, tokens)
    model(changed, tokens)
    assert torch.equal(seen[0][:-1], seen[1][:-1])
    assert not torch.equal(seen[0][-1], seen[1][-1])
