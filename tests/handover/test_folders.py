"""Hugging Face folders come in and go out bit by bit, whole or not at all; what is wrong with one is told in a line.

What a model computes is compared in test_transformers.py. Here are folders: shards, index, tokenizer, card.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemReader

import warm
from handover import folders, peak_memory
from handover.folders import AUTO, CONFIG, INDEX, given_to, taken
from refusals import check_line
from slipway.checkpoint import store
from slipway.cli import main
from slipway.handover import shards
from slipway.plan import plan_file
from slipway.run_dir import RunDir


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.write(tmp_path_factory.mktemp("source") / "tiny-llama", folders.state_of())


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taken(source, tmp_path_factory.mktemp("imported") / "run")


# --- bit by bit


@settings(max_examples=4, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "num_hidden_layers": st.integers(1, 3),
            "num_key_value_heads": st.sampled_from([1, 2, 4]),
            "vocab_size": st.sampled_from([259, 300, 384]),
            "tie_word_embeddings": st.booleans(),
        }
    ),
    st.sampled_from([1, 3]),
    st.sampled_from(["5GB", "10KB", "1KB"]),
)
def test_a_folder_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, Any], number: int, shard_size: str
) -> None:
    folder, config = tmp_path_factory.mktemp("any"), CONFIG | sizes
    state = folders.state_of(config)
    folders.write(folder / "given", state, config, number)
    run_dir = taken(folder / "given", folder / "run")
    (checkpoint,) = store.complete(run_dir)
    store.verify(checkpoint)
    assert folders.same(given_to(run_dir, folder / "again", "--shard-size", shard_size), state)
    files = sorted(path.name for path in (folder / "again").glob("*.safetensors"))
    if shard_size == "5GB":
        assert files == ["model.safetensors"] and not (folder / "again" / INDEX).exists()
    else:
        assert len(files) > 1 and files[-1] == f"model-{len(files):05d}-of-{len(files):05d}.safetensors"
        total = json.loads((folder / "again" / INDEX).read_text())["metadata"]["total_size"]
        assert total == sum(tensor.nbytes for tensor in state.values())
    written = json.loads((folder / "again" / "config.json").read_text())
    assert {name: written[name] for name in config} == config | {"rope_theta": written["rope_theta"]}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 120))
def test_a_shard_is_no_larger_than_asked_unless_one_tensor_is(sizes: list[int], largest: int) -> None:
    shapes = {f"t{number}": (size,) for number, size in enumerate(sizes)}
    split = shards.shared_out(shapes, {name: 2 * size for name, (size,) in shapes.items()}, largest)
    assert [name for some in split.values() for name in some] == list(shapes), "all, once, in order"
    for some in split.values():
        assert len(some) == 1 or sum(2 * n for (n,) in some.values()) <= largest
    names = list(split)
    for before, after in zip(names, names[1:], strict=False):  # none is left half-filled
        assert (
            sum(2 * n for (n,) in split[before].values()) + 2 * next(iter(split[after].values()))[0] > largest
        )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numbers_are_taken_as_they_are_or_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: torch.dtype, precision: str
) -> None:
    config = CONFIG | {"num_hidden_layers": 1}
    state = folders.state_of(config, dtype)
    folders.write(tmp_path / "given", state, config)
    run_dir = taken(tmp_path / "given", tmp_path / "run", f"training.precision={precision}")
    told = capsys.readouterr().out
    exact = {name: tensor.float() for name, tensor in state.items()}
    assert folders.same(given_to(run_dir, tmp_path / "fp32", "--precision", "fp32"), exact), (
        "kept in any case"
    )
    own = given_to(run_dir, tmp_path / "own")
    wanted = torch.float32 if precision == "fp32" else torch.bfloat16
    assert folders.same(own, {name: tensor.to(wanted) for name, tensor in exact.items()})
    inexact = [name for name, tensor in exact.items() if not torch.equal(own[name].float(), tensor)]
    assert bool(inexact) == (precision == "bf16" and dtype != torch.bfloat16)
    assert (f"{len(inexact)} tensors hold numbers that bf16 has not" in told) == bool(inexact)
    assert (
        json.loads((tmp_path / "own" / "config.json").read_text())["dtype"] == str(wanted).partition(".")[2]
    )


def test_a_tied_table_may_be_there_twice_and_must_then_be_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIG | {"tie_word_embeddings": True}
    state = folders.state_of(config)
    twice = {**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()}
    folders.write(tmp_path / "twice", twice, config, shards=2)
    assert folders.same(given_to(taken(tmp_path / "twice", tmp_path / "run"), tmp_path / "again"), state)
    assert "lm_head.weight" in capsys.readouterr().out, "what is left out is named"

    twice["lm_head.weight"][-1, -1] += 1e-3
    folders.write(tmp_path / "other", twice, config)
    assert main(["import", "hf", str(tmp_path / "other"), f"run.dir={tmp_path / 'no'}", *AUTO]) == 2
    check_line(
        capsys.readouterr().err,
        tmp_path / "other" / "model.safetensors",
        "lm_head.weight",
        "model.embed_tokens.weight",
    )
    assert not (tmp_path / "no").exists()


def test_the_checkpoint_of_an_import_has_no_states_of_an_optimizer(run: Path, tmp_path: Path) -> None:
    (checkpoint,) = store.complete(run)
    kept = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    assert not [name for name in kept if name.startswith("optimizer.")]


# --- the model


def test_what_is_derived_can_be_pasted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`model=auto` and the words that it prints make the same run."""
    first = taken(source, tmp_path / "first")
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("derived from")]
    words = line.partition(": ")[2].split()
    assert words[0] == "model=base/gpt" and "model.num_query_groups=2" in words
    rest = [word for word in AUTO if word != "model=auto"]
    again = ["optimizer.lr=1e-5", "training.steps=1000", f"run.dir={tmp_path / 'second'}"]
    assert main(["import", "hf", str(source), *words, *rest, *again]) == 0
    one, other = (plan_file.read_config(RunDir(run_dir).plan) for run_dir in (first, tmp_path / "second"))
    assert one.model == other.model and one.training == other.training


@pytest.mark.parametrize(
    ("word", "use"),
    {
        "model.num_layers=3": "model.num_layers=2",
        "model.norm_epsilon=1e-6": "model.norm_epsilon=1e-05",
        "model.ffn_hidden_size=null": "model.ffn_hidden_size=48",
        "model.untie_embeddings_and_output_weights=false": "model.untie_embeddings_and_output_weights=true",
        "model.rotary_base=500": "model.rotary_base=10000",
    }.items(),
)
def test_a_model_that_differs_is_told_with_what_to_set(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, use: str
) -> None:
    assert main(["import", "hf", str(source), f"run.dir={tmp_path / 'run'}", *AUTO, word]) == 2
    check_line(capsys.readouterr().err, word.partition("=")[0], source / "config.json", use)
    assert not (tmp_path / "run").exists()


# --- the tokenizer


def test_the_tokenizer_goes_with_the_model(source: Path, run: Path, tmp_path: Path) -> None:
    """As it was given; and where the run has none but its data's, with settings of its own."""
    given_to(run, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (run / "tokenizer" / name).read_bytes() == (source / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == (source / name).read_bytes()
    assert json.loads((tmp_path / "again" / "generation_config.json").read_text())["eos_token_id"] == 256


def test_how_to_prepare_data_is_told_and_works(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken(source, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    (line,) = [one for one in lines if one.startswith("prepare text for it")]
    text = tmp_path / "text.txt"
    text.write_text("Words.\n" * 100)
    import shlex

    words = shlex.split(line.partition(" with ")[2])
    data = ["data=files", f"data.sources.files.inputs=[{text}]", f"data.dir={tmp_path / 'data'}"]
    assert main(["data", *data, *words, "data.sequence_length=16"]) == 0
    assert (tmp_path / "data" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


# --- one process, nothing more, and never half of anything

ALONE = """
import sys, torch
def no(*arguments, **options): raise AssertionError("torch.load")
torch.load = torch.serialization.load = no
from slipway.cli import main
code = main(sys.argv[1:])
heavy = [name for name in sys.modules if name.partition(".")[0] in ("megatron", "hydra", "transformers")]
assert not heavy, heavy
sys.exit(code)
"""


def test_an_export_loads_nothing_by_torch_and_imports_neither_megatron_nor_hydra(
    run: Path, tmp_path: Path
) -> None:
    import subprocess

    words = ["export", "hf", f"run.dir={run}", f"to={tmp_path / 'out'}"]
    done = subprocess.run([sys.executable, "-c", ALONE, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.faults
def test_memory_is_that_of_two_tensors_whatever_the_models_size(tmp_path: Path) -> None:
    """The same program measures a model of 3 GB (docs/dev/performance.md)."""

    def run(command: list[str], where: Path) -> int:
        return warm.run([sys.executable, *command], cwd=where, capture_output=True, timeout=240).returncode

    found = peak_memory.measure(tmp_path, peak_memory.large(200, 512, 8192), AUTO[1:], run)
    print(found)
    bound = (
        2 * found["largest tensor"] + 24
    )  # MB: what allocators keep, and a stretch of numbers that is looked at
    assert found["model"] > 3 * bound, "else nothing is shown"
    assert found["import above it"] < bound and found["export above it"] < bound


KILLED = """
import os, signal, sys
from pathlib import Path
from slipway.cli import main
from slipway.handover.progress import Progress

def killed(of, name, number):
    whole, calls = getattr(of, name), []
    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)
    setattr(of, name, call)

where, number, *words = sys.argv[1:]
if where == "tensor":
    killed(Progress, "advance", int(number))
else:
    killed(Path, "rename", int(number))
sys.exit(main(words))
"""


@pytest.mark.faults
@pytest.mark.parametrize("verb", ["import", "export"])
@pytest.mark.parametrize(("where", "number"), [("tensor", 1), ("tensor", 12), ("name", 1)])
def test_what_is_killed_leaves_nothing_that_is_taken_for_whole(
    source: Path, run: Path, tmp_path: Path, verb: str, where: str, number: int
) -> None:
    """kill -9 at the first tensor, in the middle, before the name is given; and again."""
    words = {
        "import": ["import", "hf", str(source), f"run.dir={tmp_path / 'run'}", *AUTO],
        "export": ["export", "hf", f"run.dir={run}", f"to={tmp_path / 'out'}", "--shard-size", "20KB"],
    }[verb]
    done = warm.run(
        [sys.executable, "-c", KILLED, where, str(number), *words], capture_output=True, timeout=120
    )
    assert done.returncode == -9, done.stderr
    left = sorted(path.name for path in tmp_path.iterdir())
    if verb == "export":
        assert len(left) == 1 and left[0].startswith(".out.")
    else:
        assert not store.complete(tmp_path / "run")
    assert main(words) == 0
    if verb == "import":
        found = given_to(tmp_path / "run", tmp_path / "out")
        assert sorted(os.listdir(store.folder(tmp_path / "run"))) == ["latest", "step-00000000"]
    else:
        found = folders.read(tmp_path / "out")
    assert folders.same(found, folders.state_of())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "run") == ["out"], (
        "nothing is left over"
    )
