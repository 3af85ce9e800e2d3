"""What the plan counts of an optimizer that keeps other states of hidden matrices than of the rest."""

from typing import Any

import pytest

from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.models import family
from slipway.models.family import Shard
from slipway.plan import make_plan, rules
from slipway.plan.keeps import Keeps
from slipway.plan.summary import checkpoint_parts

# hidden 8, MLP 12, 2 layers; 128 rows of the vocabulary's table
TINY = [
    *("model=demo", "model.num_layers=2", "model.hidden_size=8", "model.num_attention_heads=2"),
    *("model.ffn_hidden_size=12", "model.vocab_size=128", "data.tokenizer.vocab_size=128"),
]
MATRICES = 2 * (4 * 8 * 8 + 2 * 8 * 12)
OTHERS = 128 * 8 + 2 * (3 * 8 + 8 + 12 + 8 + 4 * 8) + 2 * 8  # table; biases, norms of layers; the last norm


@pytest.mark.parametrize(("precision", "weight"), [("fp32", 4), ("bf16", 6)])
def test_a_checkpoint_has_one_momentum_or_two_moments(precision: str, weight: int) -> None:
    config = compose([*TINY, "optimizer=muon", f"training.precision={precision}"])
    parameters = make_plan(config).parameters
    assert parameters == MATRICES + OTHERS
    assert checkpoint_parts(config, parameters) == [(MATRICES, weight + 4), (OTHERS, weight + 8)]


def test_a_rank_keeps_one_momentum_or_two_moments() -> None:
    (stage,) = make_plan(compose([*TINY, "optimizer=muon"])).memory.stages
    assert stage.optimizer_states == 4 * MATRICES + 8 * OTHERS
    (stage,) = make_plan(compose(TINY)).memory.stages
    assert stage.optimizer_states == 8 * (MATRICES + OTHERS)


def test_of_replicas_the_fullest_counts() -> None:
    keeps = Keeps(4, 4, state=8, of_matrix=4)
    assert keeps.states(100, 70) == 8 * 30 + 4 * 70
    assert keeps.states(100, 70, ranks=2) == 8 * 30 + 4 * 20  # all others in one half
    assert keeps.states(100, 70, ranks=4) == 8 * 25
    assert Keeps(4, 4, state=4, of_matrix=8).states(100, 70, ranks=2) == 8 * 50


def test_an_optimizer_of_matrices_wants_some(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose([*TINY, "optimizer=muon"])
    one: Any = family(config)
    layers = [layer._replace(matrices=Shard(0)) for layer in one.layers(config, config.parallelism)]
    monkeypatch.setattr(type(one), "layers", lambda *_: layers)
    with pytest.raises(UserError, match="no hidden matrices"):
        rules.check_layout(config)
