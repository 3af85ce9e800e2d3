"""A file of another library becomes a run's checkpoint and a file again, bit by bit; what does not fit is refused."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader

from reference import stored
from refusals import check_line, refused
from slipway import files
from slipway.checkpoint import store
from slipway.cli import main
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.handover import inward, outward, tensor_file
from slipway.handover.weights import Weights
from slipway.models.formats import format_of

WORDS = [
    "model=earth_demo",
    "data=any_imagery",
    "model.image_size=8",
    "model.patch_size=4",
    "model.mask_ratio=0.5",
    "model.num_layers=2",
    "model.hidden_size=32",
    "model.decoder_num_layers=1",
    "model.decoder_hidden_size=16",
    "model.metadata_drop=0",
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.device.peak_tflops_bf16=0.1",
]
SIZES = st.fixed_dictionaries(
    {
        "num_layers": st.integers(1, 3),
        "hidden_size": st.sampled_from([16, 32, 48]),
        "num_attention_heads": st.sampled_from([1, 2, 4, 8]),
        "decoder_num_layers": st.integers(1, 2),
        "decoder_hidden_size": st.sampled_from([16, 32]),
        "decoder_num_attention_heads": st.sampled_from([1, 2, 4]),
        "num_bands": st.integers(1, 4),
        "patch_size": st.sampled_from([2, 4]),
        "num_frames": st.integers(1, 3),
        "metadata": st.sampled_from(["[]", "[time]", "[location]", "[time,location]"]),
    }
)

State = dict[str, Tensor]


def configured(run_dir: Path, *words: str) -> RunConfig:
    return compose([*WORDS, f"run.dir={run_dir}", *words])


def state_of(config: RunConfig, dtype: torch.dtype = torch.float32) -> State:
    """A model as the format has it, with numbers drawn at random."""
    form, numbers = format_of(config, "terratorch"), torch.Generator().manual_seed(1)
    drawn = {
        name: torch.randn(shape, generator=numbers).to(dtype)
        for part in form.parts(config)
        for name, shape in part.theirs.items()
    }
    return drawn | {n: c.values().reshape(c.shape).to(dtype) for n, c in form.constants(config).items()}


def write(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


def taken(config: RunConfig, path: Path) -> None:
    inward._file(config, argparse.Namespace(action="terratorch", source=str(path)))


def given_to(config: RunConfig, path: Path, step: int | None = None, precision: str | None = None) -> State:
    outward.run(asked(config.run.dir, path, step, precision))
    source = tensor_file.kind(path).Source(path)
    return {name: source.read(name) for name in source.shapes}


def asked(run_dir: Path, to: Path, step: int | None = None, precision: str | None = None) -> Any:
    """The options of an export."""
    return argparse.Namespace(action="terratorch", run_dir=run_dir, to=to, step=step, precision=precision)


def same(one: State, other: State) -> bool:
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return configured(tmp_path / "run")


@settings(max_examples=8, deadline=None)
@given(SIZES, st.sampled_from([".pt", ".safetensors"]))
def test_a_file_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, Any], suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    config = configured(folder / "run", *(f"model.{name}={value}" for name, value in sizes.items()))
    state = state_of(config)
    taken(config, write(folder / "given.pt", state))
    (checkpoint,) = store.complete(config.run.dir)
    store.verify(checkpoint)
    assert same(given_to(config, folder / f"again{suffix}"), state)


def test_the_numbers_are_where_the_trainer_has_them(config: RunConfig, tmp_path: Path) -> None:
    """The checkpoint by torch's own reader: heads apart, patches as rows."""

    state, model = state_of(config), config.model.model_dump()
    taken(config, write(tmp_path / "given.pt", state))
    (checkpoint,) = store.complete(config.run.dir)
    ours = stored.named(checkpoint)
    heads, width = model["num_attention_heads"], model["hidden_size"]
    size = width // heads
    for layer in range(model["num_layers"]):
        theirs = state[f"encoder.blocks.{layer}.attn.qkv.weight"]
        mine = ours["encoder.layers.self_attention.linear_qkv.weight"][layer]
        for head in range(heads):
            for kind in range(3):  # queries, keys, values
                for row in range(size):
                    found = mine[head * 3 * size + kind * size + row]
                    assert torch.equal(found, theirs[kind * width + head * size + row])
    conv, embedding = state["encoder.patch_embed.proj.weight"], ours["patch_embedding.weight"]
    patch = model["patch_size"]
    for band in range(model["num_bands"]):
        for row in range(patch):
            for column in range(patch):
                place = (band * patch + row) * patch + column
                assert torch.equal(embedding[:, place], conv[:, band, 0, row, column])
    assert torch.equal(ours["time_scale"], state["encoder.temporal_embed_enc.scale"])
    assert torch.equal(ours["decoder_location_scale"], state["decoder.location_embed_dec.scale"])
    kept = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    assert set(kept) == set(ours), "no optimizer has updated them: it has no states, and fp32 no copies"


def test_a_run_in_bf16_has_both_precisions(tmp_path: Path) -> None:
    config = configured(tmp_path / "run", "training.precision=bf16")
    state = state_of(config)
    taken(config, write(tmp_path / "given.pt", state))
    assert same(given_to(config, tmp_path / "fp32.pt"), state)
    rounded = {name: value.to(torch.bfloat16) for name, value in state.items()}
    assert same(given_to(config, tmp_path / "bf16.pt", precision="bf16"), rounded)


def test_a_file_in_bf16_is_taken_as_it_is(config: RunConfig, tmp_path: Path) -> None:
    state = state_of(config, torch.bfloat16)
    state |= {name: value for name, value in state_of(config).items() if name.endswith("pos_embed")}
    taken(config, write(tmp_path / "given.pt", state))
    found = given_to(config, tmp_path / "again.pt")
    assert all(torch.equal(found[name], value.float()) for name, value in state.items())


def test_names_of_prithvi_1_and_of_timms_wrapper_are_taken(config: RunConfig, tmp_path: Path) -> None:
    state = state_of(config)
    older = {name.removeprefix("encoder.").removeprefix("decoder."): value for name, value in state.items()}
    older = {name.replace("blocks.0.", "_timm_module.blocks.0."): value for name, value in older.items()}
    taken(config, write(tmp_path / "given.pt", older))
    assert same(given_to(config, tmp_path / "again.pt"), state)


def test_another_number_of_frames_is_told(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Positions are computed: a model for other images has the same weights."""
    other = state_of(configured(tmp_path / "run", "model.num_frames=2"))
    taken(config, write(tmp_path / "given.pt", other))
    told = capsys.readouterr().out
    assert "encoder.pos_embed is [1, 9, 32] in the file, and [1, 17, 32] here" in told
    found = given_to(config, tmp_path / "again.pt")
    assert same(found, {**other, **{n: v for n, v in state_of(config).items() if n.endswith("pos_embed")}})


def _without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def _with(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name])}


BLOCK = "encoder.blocks.0.mlp.fc1.weight"
SPOILT: dict[str, tuple[Callable[[State], State], tuple[object, ...]]] = {
    "missing": (_without("encoder.norm.bias"), ("encoder.norm.bias", "missing")),
    "too much": (lambda state: {**state, "encoder.head.weight": torch.zeros(2)}, ("encoder.head.weight",)),
    "another shape": (_with("encoder.norm.bias", lambda t: t[:-1]), ("encoder.norm.bias", 31, 32)),
    "not finite": (_with(BLOCK, lambda t: t.fill_(float("nan"))), (BLOCK,)),
    "more precise": (_with(BLOCK, lambda t: t.double()), (BLOCK, "float64")),
    "learned positions": (_with("encoder.pos_embed", lambda t: t + 0.01), ("encoder.pos_embed", 0.01)),
    "twice": (lambda state: {**state, "cls_token": state["encoder.cls_token"]}, ("encoder.cls_token",)),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    config: RunConfig, tmp_path: Path, fault: str
) -> None:
    spoil, facts = SPOILT[fault]
    path = write(tmp_path / "given.pt", spoil(state_of(config)))
    with refused(path, *facts):
        taken(config, path)
    assert store.complete(config.run.dir) == []
    assert not files.names(store.folder(config.run.dir))


@pytest.mark.parametrize(
    ("word", "right"),
    {
        "model.hidden_size=64": "model.hidden_size=32",
        "model.num_layers=3": "model.num_layers=2",
        "model.ffn_hidden_size=64 model.decoder_ffn_hidden_size=32": "model.ffn_hidden_size=128",
        "model.num_bands=4": "model.num_bands=6",
        "model.patch_size=8": "model.patch_size=4",
        "model.decoder_num_layers=2": "model.decoder_num_layers=1",
        "model.metadata=[time]": "model.metadata=[time,location]",
    }.items(),
)
def test_sizes_that_differ_are_told_with_what_to_set(
    config: RunConfig, tmp_path: Path, word: str, right: str
) -> None:
    path = write(tmp_path / "given.pt", state_of(config))
    with refused(word.partition("=")[0], path, use=right):
        taken(configured(tmp_path / "run", *word.split()), path)


class Planted:
    def __reduce__(self) -> Any:
        return (print, ("planted",))


@pytest.mark.parametrize("what", ["planted", "text", "cut off", "nested", "nothing"])
def test_a_file_that_holds_no_tensors_alone_is_refused(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path, state = tmp_path / "given.pt", state_of(config)
    if what == "planted":
        torch.save({**state, "more": Planted()}, path)
    elif what == "text":
        path.write_text("no tensors")
    elif what == "nested":
        torch.save({"state_dict": state}, path)
    elif what == "nothing":
        torch.save({}, path)
    else:
        write(path, state)
        path.write_bytes(path.read_bytes()[:-1000])
    with refused(path):
        taken(config, path)
    assert "planted" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 200, b"\x02" + bytes(7) + b"{}more", b"\x09" + bytes(7) + b'{"a": {}}']
)
def test_a_damaged_file_of_safetensors_is_refused(config: RunConfig, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given.safetensors"
    path.write_bytes(content)
    with refused(path):
        taken(config, path)


@pytest.fixture
def run(config: RunConfig, tmp_path: Path) -> RunConfig:
    """A run that has begun, by an import."""
    taken(config, write(tmp_path / "given.pt", state_of(config)))
    return config


def test_a_run_that_has_begun_is_not_imported_into(run: RunConfig, tmp_path: Path) -> None:
    with refused("run.dir", "step-00000000", value=run.run.dir):
        taken(run, tmp_path / "given.pt")


def test_what_an_export_cannot_do_is_refused(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "there.pt").write_text("")
    with refused("export terratorch to", value=tmp_path / "there.pt"):
        given_to(run, tmp_path / "there.pt")
    with refused("export terratorch to", use=".safetensors", value=tmp_path / "out.zip"):
        given_to(run, tmp_path / "out.zip")
    with refused("export terratorch --step", 0, value=7):
        given_to(run, tmp_path / "out.pt", step=7)
    with refused("export terratorch --precision", "float32", value="bf16", use="fp32"):
        given_to(run, tmp_path / "out.pt", precision="bf16")
    with refused("run.dir", value=tmp_path / "elsewhere"):
        given_to(configured(tmp_path / "elsewhere"), tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_a_damaged_checkpoint_is_not_exported(run: RunConfig, tmp_path: Path) -> None:
    (checkpoint,) = store.complete(run.run.dir)
    (shard,) = checkpoint.glob("__*.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with refused(checkpoint):
        given_to(run, tmp_path / "out.pt", step=0)
    with refused("run.dir"):
        given_to(run, tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_an_export_that_ends_early_leaves_no_file(run: RunConfig, tmp_path: Path, monkeypatch: Any) -> None:
    tensors = Weights.tensors

    def ended(self: Weights) -> Iterator[tuple[str, Tensor]]:
        yield next(tensors(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(Weights, "tensors", ended)
    before = sorted(tmp_path.iterdir())
    for name in ("out.pt", "out.safetensors"):
        with pytest.raises(KeyboardInterrupt):
            given_to(run, tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_what_the_format_computes_in_another_way_is_refused(tmp_path: Path) -> None:
    for word, path in {
        "model.norm_epsilon=1e-6": "model.norm_epsilon",
        "model.decoder_ffn_hidden_size=16": "model.decoder_ffn_hidden_size",
    }.items():
        with refused(path):
            taken(configured(tmp_path / "run", word), write(tmp_path / "given.pt", {"a": torch.zeros(1)}))


def test_a_family_without_the_format_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "given.pt", {"a": torch.zeros(1)})
    assert main(["import", "terratorch", str(path), "model=demo", "data=stdlib"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.family" in line and "terratorch" in line


def test_words_that_would_have_no_effect_are_refused(
    run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.pt"
    export = ["export", "terratorch", f"run.dir={run.run.dir}", f"to={target}"]
    for word, key in {"model.num_layers=9": "model.num_layers", "~data": "~data"}.items():
        assert main([*export, word]) == 2
        check_line(capsys.readouterr().err, key, "run.dir=DIR")
    assert not target.exists()


@pytest.mark.slow
def test_an_export_imports_no_megatron_core(run: RunConfig, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from slipway.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not any(name.startswith('megatron') for name in sys.modules)\n"
        "sys.exit(code)\n"
    )
    words = ["export", "terratorch", f"run.dir={run.run.dir}", f"to={tmp_path / 'out.pt'}"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_line_says_what_it_wrote_and_how_to_load_it(
    run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.pt"
    assert main(["export", "terratorch", f"run.dir={run.run.dir}", f"to={target}"]) == 0
    told = capsys.readouterr().out
    assert f"step 0 of {run.run.dir}" in told and "float32" in told and "BACKBONE_REGISTRY" in told
    assert f'ckpt_path="{target}"' in told and "embed_dim=32" in told
    assert same(torch.load(target, weights_only=True), state_of(run))


@pytest.mark.slow
def test_metadata_of_the_format_is_what_megatron_core_writes(run: RunConfig, tmp_path: Path) -> None:
    from slipway.engine.megatron import tensor_files

    tensor_files.finish(tmp_path)
    (checkpoint,) = store.complete(run.run.dir)
    written = json.loads((checkpoint / "metadata.json").read_text())
    assert written == json.loads((tmp_path / "metadata.json").read_text())
