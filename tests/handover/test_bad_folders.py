"""What is wrong with a Hugging Face folder, or with what is asked, is told in a line, and nothing is written."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from handover import folders
from handover.folders import AUTO, CONFIG, INDEX, State, taken
from refusals import check_line, refused
from slipway.cli import main
from slipway.handover.safetensors_file import Source
from slipway.handover.weights import Weights
from slipway.plan import plan_file
from slipway.run_dir import RunDir


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.write(tmp_path_factory.mktemp("source") / "tiny-llama", folders.state_of())


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taken(source, tmp_path_factory.mktemp("imported") / "run")


Spoil = Callable[[Path], object]


def _config(**changed: Any) -> Spoil:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**CONFIG, **changed}))


def _header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Write another header in front of the same numbers."""

    def spoil(folder: Path) -> None:
        path = folder / "model-00001-of-00002.safetensors"
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return spoil


def _index(change: Callable[[dict[str, str]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return spoil


def _pickled(folder: Path) -> None:
    for path in [*folder.glob("*.safetensors"), folder / INDEX]:
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))


def _without(*names: str) -> Spoil:
    return lambda folder: [(folder / name).unlink() for name in names]


def _cut(folder: Path) -> None:
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _linked(folder: Path) -> None:
    path = folder / "model-00002-of-00002.safetensors"
    outside = folder.parent / "elsewhere.safetensors"
    path.rename(outside)
    path.symlink_to(outside)


def _twice(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").write_bytes(
        (folder / "model-00001-of-00002.safetensors").read_bytes()
    )


def _rewritten(change: Callable[[State], object], shards: int = 2) -> Spoil:
    def spoil(folder: Path) -> None:
        state = folders.state_of()
        change(state)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folders.write(folder, state, CONFIG, shards)

    return spoil


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
NORM, EMBEDDING = "model.norm.weight", "model.embed_tokens.weight"
BAD: dict[str, tuple[Spoil, str, tuple[object, ...]]] = {
    "a shard is missing": (_without(TWO), TWO, ()),
    "a shard is cut off": (_cut, TWO, ()),
    "another shape": (
        _rewritten(lambda state: state.update({NORM: torch.zeros(33)})),
        "",
        (NORM, "[33]", "[32]"),
    ),
    "a tensor is missing": (_rewritten(lambda state: state.pop(NORM)), "", (NORM,)),
    "a tensor too many": (_rewritten(lambda state: state.update(more=torch.zeros(2))), "", ("more",)),
    "not finite": (
        _rewritten(lambda state: state[NORM].fill_(float("inf")), 1),
        "model.safetensors",
        (NORM,),
    ),
    "double precision": (
        _rewritten(lambda state: state.update({NORM: state[NORM].double()}), 1),
        "model.safetensors",
        (NORM, "F64", "BF16"),
    ),
    "an unknown architecture": (
        _config(architectures=["MambaForCausalLM"]),
        "config.json: architectures",
        ("MambaForCausalLM", "LlamaForCausalLM"),
    ),
    "an architecture that computes something else": (
        _config(hidden_act="gelu"),
        "config.json: hidden_act",
        ("gelu", "silu"),
    ),
    "code of its own": (_config(auto_map={"AutoModel": "x.Y"}), "config.json: auto_map", ()),
    "no config": (_without("config.json"), "config.json", ()),
    "a config that is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json", ()),
    "a config that is a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "config.json",
        ("list",),
    ),
    "no tokenizer": (_without("tokenizer.json"), "tokenizer.json", ()),
    "a tokenizer that is none": (
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        "tokenizer.json",
        (),
    ),
    "a pickle": (_pickled, "pytorch_model.bin", ("model.safetensors",)),
    "no weights": (_without(ONE, TWO, INDEX), "model.safetensors", ()),
    "no index": (_without(INDEX), "model.safetensors", (INDEX, ONE)),
    "an index to the folder above": (
        _index(lambda places: places.update({NORM: "../elsewhere.safetensors"})),
        INDEX,
        (NORM, "../elsewhere.safetensors"),
    ),
    "an index to anywhere": (
        _index(lambda places: places.update({NORM: "/etc/passwd"})),
        INDEX,
        (NORM, "/etc/passwd"),
    ),
    "an index to a pickle": (
        _index(lambda places: places.update({NORM: "pytorch_model.bin"})),
        INDEX,
        ("pytorch_model.bin",),
    ),
    "an index of another thing": (lambda folder: (folder / INDEX).write_text("{}"), INDEX, ("weight_map",)),
    "an index that lies": (
        _index(lambda places: places.update({EMBEDDING: TWO})),
        ONE,
        (EMBEDDING, TWO),
    ),
    "an index that leaves one out": (_index(lambda places: places.pop(EMBEDDING)), ONE, (EMBEDDING,)),
    "an index of more": (_index(lambda places: places.update(more=ONE)), ONE, ("more",)),
    "a link out of the folder": (_linked, TWO, ()),
    "a tensor twice": (_twice, TWO, (ONE,)),
    "a header that is too long": (
        lambda folder: (folder / ONE).write_bytes(struct.pack("<Q", 2**40) + b"{}"),
        ONE,
        (),
    ),
    "a header that is no JSON": (
        lambda folder: (folder / ONE).write_bytes(struct.pack("<Q", 4) + b"{no}"),
        ONE,
        (),
    ),
    "numbers of two tensors": (
        _header(lambda header: header[EMBEDDING].update(data_offsets=[0, 4 * 259 * 32 + 4])),
        ONE,
        (EMBEDDING,),
    ),
    "a hole in the numbers": (
        _header(
            lambda header: header.pop(
                next(name for name, one in header.items() if one.get("data_offsets", [1])[0] == 0)
            )
        ),
        ONE,
        (),
    ),
    "a negative size": (
        _header(lambda header: header[EMBEDDING].update(shape=[-259, -32])),
        ONE,
        (EMBEDDING,),
    ),
    "a size that is no number": (
        _header(lambda header: header[EMBEDDING].update(shape=["259", 32])),
        ONE,
        (),
    ),
    "a type that nobody knows": (
        _header(lambda header: header[EMBEDDING].update(dtype="F8_E4M3")),
        ONE,
        (EMBEDDING, "F8_E4M3"),
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_folder_is_told_in_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    spoil, where, facts = BAD[fault]
    folder = folders.write(tmp_path / "given", folders.state_of(), shards=2)
    spoil(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["import", "hf", str(folder), f"run.dir={tmp_path / 'runs' / 'run'}", *AUTO]) == 2
    check_line(capsys.readouterr().err, folder / where if where else folder, *facts)
    assert not (tmp_path / "runs").exists(), "nothing is written"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("names", "offsets"),
    {
        ("a", "a"): [(0, 4), (4, 8)],  # JSON's last would win
        ("a", "b"): [(0, 4), (0, 4)],
        ("a", "c"): [(0, 4), (8, 12)],
        ("b", "c"): [(4, 8), (8, 12)],
    }.items(),
)
def test_a_header_whose_tensors_share_or_leave_out_bytes_is_refused(
    tmp_path: Path, names: tuple[str, str], offsets: list[tuple[int, int]]
) -> None:
    entries = (
        f'"{name}": {{"dtype": "F32", "shape": [1], "data_offsets": [{start}, {end}]}}'
        for name, (start, end) in zip(names, offsets, strict=True)
    )
    text = f"{{{', '.join(entries)}}}".encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(max(end for _, end in offsets)))
    with refused(path, names[1] if offsets[0][0] == 0 else names[0]):
        Source(path)


def test_an_export_that_ends_early_leaves_no_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = Weights.tensors

    def ended(self: Weights) -> Iterator[tuple[str, torch.Tensor]]:
        yield next(tensors(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(Weights, "tensors", ended)
    assert main(["export", "hf", f"run.dir={run}", f"to={tmp_path / 'out'}"]) == 130
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["import", "hf", "nowhere", *AUTO], "import hf", ("nowhere",)),
        (["import", "hf", *AUTO], "import hf", ("FOLDER",)),
        (["export", "hf", "run.dir=RUN"], "export hf to", ("to=FOLDER",)),
        (["export", "hf", "to=out"], "run.dir", ("run.dir=DIR",)),
        (["export", "hf", "run.dir=nowhere", "to=out"], "run.dir", ("nowhere",)),
        (["export", "hf", "run.dir=RUN", "to=there"], "export hf to", ("there",)),
        (["export", "hf", "run.dir=RUN", "to=out", "--step", "7"], "export hf --step", ("7", "0")),
        (
            ["export", "hf", "run.dir=RUN", "to=out", "--precision", "bf16"],
            "export hf --precision",
            ("fp32",),
        ),
        (["export", "hf", "run.dir=RUN", "to=out", "--shard-size", "5"], "export hf --shard-size", ("5GB",)),
        (
            ["export", "hf", "run.dir=RUN", "to=out", "--license", "a b"],
            "export hf --license",
            ("apache-2.0",),
        ),
        (["export", "hf", "run.dir=RUN", "to=out", "model.num_layers=9"], "model.num_layers", ("9",)),
        (["export", "hf", "run.dir=RUN", "to=out", "to=other"], "to", ("other",)),
    ],
)
def test_what_cannot_be_asked_is_refused(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    path: str,
    facts: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main([word.replace("RUN", str(run)) for word in words]) == 2
    check_line(capsys.readouterr().err, path, *facts)
    assert os.listdir(tmp_path) == ["there"]


def test_a_model_that_no_class_computes_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from slipway.config.compose import compose
    from slipway.plan import make_plan

    config = compose(["model=demo", "model.activation=swiglu", f"run.dir={tmp_path}"])
    plan_file.write(make_plan(config), RunDir(tmp_path).plan)
    assert main(["export", "hf", f"run.dir={tmp_path}", f"to={tmp_path / 'out'}"]) == 2
    assert "model." in capsys.readouterr().err and not (tmp_path / "out").exists()
