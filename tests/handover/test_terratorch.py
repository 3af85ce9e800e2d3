"""Exported checkpoints in real terratorch: names, features, loss, parameter counts; and the way back."""

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import warm
from handover.terratorch_process import CHECKOUT, PYTHON, Terratorch
from prepared_chips import SPLIT, prepared
from slipway.config.compose import compose
from slipway.data.imagery.layout import Layout
from slipway.models.mae.config import mae_of
from slipway.models.mae.formats import backbone, whole
from training import layout, slipway, train_in_one_process

pytestmark = [pytest.mark.terratorch, pytest.mark.timeout(600)]

BANDS = ("blue", "green", "red", "nir_narrow", "swir_1", "swir_2")
SIZE = 112  # pixels: 7 x 7 patches of 16, 8 x 8 of 14
TRAINING = [
    "training.precision=fp32",
    "training.global_batch_size=2",
    "training.micro_batch_size=1",
    "optimizer.lr_warmup_steps=0",
    "optimizer.clip_grad=1.0",
    "validation.steps=0",
    "checkpoint.interval=0",
    "logging.interval=1000",
    "cluster.device.peak_tflops_fp32=0.1",
]


class Case(NamedTuple):
    """A preset's shape at a small depth, the layout that trains it, and another one that continues it."""

    preset: str
    theirs: str
    layout: list[str]
    other: list[str]


CASES = {
    "300m": Case(
        "prithvi_eo2_300m",
        "prithvi_eo_v2_300",
        layout(ranks=4, tp=2, pp=2, sp=True),
        layout(ranks=2, distopt=True),
    ),
    "600m_tl": Case(
        "prithvi_eo2_600m_tl", "prithvi_eo_v2_600_tl", layout(ranks=2, pp=2), layout(ranks=2, tp=2, sp=True)
    ),
}
TOTALS = {
    "prithvi_eo2_300m": 330_419_712,
    "prithvi_eo2_300m_tl": 330_419_716,
    "prithvi_eo2_600m": 657_668_248,
    "prithvi_eo2_600m_tl": 657_668_252,
}
PRESETS = {name: name.replace("eo2", "eo_v2").replace("0m", "0") for name in TOTALS}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terratorch]:
    assert PYTHON.exists(), "make .venv-terratorch/.installed"
    process = Terratorch(tmp_path_factory.mktemp("terratorch") / "log")
    yield process
    process.close()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What trains each case, but for its layout and run.dir."""
    folder = tmp_path_factory.mktemp("chips")
    config = prepared(folder, {"any": 10}, Layout(4, 6, SIZE), 5_000_000, bands=BANDS)
    data = [
        "data=any_imagery",
        f"data.dir={config.data.dir}",
        "data.crop_size=null",
        "data.shard_size=5000000",
        f"data.split=[{','.join(map(str, SPLIT))}]",
        "data.sources.any.inputs=[nowhere]",
        "data.sources.any.format=raster",
    ]
    return {
        name: [
            f"model={case.preset}",
            *(
                "model.num_layers=2",
                "model.decoder_num_layers=1",
                f"model.image_size={SIZE}",
                "parallelism=single",
            ),
            *TRAINING,
            *data,
        ]
        for name, case in CASES.items()
    }


@pytest.fixture(scope="module")
def folder(theirs: Terratorch, words: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME/ of each case, a run that its layout has trained for two steps, and NAME.pt, its export."""
    folder = tmp_path_factory.mktemp("runs")
    jobs = [
        [*words[name], *case.layout, "training.steps=2", "optimizer.lr=5e-3", f"run.dir={folder / name}"]
        for name, case in CASES.items()
    ]
    assert train_in_one_process(jobs, folder / "codes") == [0] * len(CASES)
    for name in CASES:
        export(folder, name, f"{name}.pt")
    return folder


def export(folder: Path, name: str, file: str) -> None:
    done = slipway("export", "terratorch", f"run.dir={name}", f"to={file}", cwd=folder)
    assert done.returncode == 0, done.stderr


def sizes(words: list[str]) -> dict[str, Any]:
    model = mae_of(compose(words))
    return {"backbone": backbone(model), "whole": whole(model)}


@pytest.mark.parametrize("name", CASES)
def test_it_loads_with_no_missing_and_no_unexpected_key(
    theirs: Terratorch, folder: Path, words: dict[str, list[str]], name: str
) -> None:
    file = folder / f"{name}.pt"
    found = theirs.ask("loaded", name=CASES[name].theirs, file=str(file), **sizes(words[name]))
    assert (found["missing"], found["unexpected"]) == ([], [])
    assert [line for line in found["warnings"] if "keys" in line] == []
    assert (found["encoder"], found["whole"]) == ([], []), "these differ from the file"
    given = torch.load(file, weights_only=True)
    assert len(found["names"]) == sum(key.startswith("encoder.") for key in given)


@pytest.mark.parametrize("name", CASES)
def test_features_and_loss_are_the_same(
    theirs: Terratorch, folder: Path, words: dict[str, list[str]], name: str
) -> None:
    outputs = str(folder / f"{name}-ours")
    done = warm.run(
        [sys.executable, str(Path(__file__).with_name("ours.py"))],
        input=json.dumps({"run_dir": str(folder / name), "outputs": outputs}),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ours = np.load(f"{outputs}.npz")
    answer = theirs.ask(
        "computed",
        name=CASES[name].theirs,
        file=str(folder / f"{name}.pt"),
        inputs=f"{outputs}-inputs.npz",
        outputs=str(folder / f"{name}-theirs.npz"),
        **sizes(words[name]),
    )
    other = np.load(folder / f"{name}-theirs.npz")
    hidden = [sorted(np.flatnonzero(mask)) for mask in other["mask"]]
    assert hidden == ours["hidden"].tolist(), "the same patches are hidden"
    for one in ("features", "latent"):
        assert ours[one].shape == other[one].shape
        off = float(np.abs(ours[one] - other[one]).max() / np.abs(other[one]).max())
        print(f"{name}: {one} of {ours[one].shape} differ by {off:.1e} of the largest")
        assert off < 1e-5, one
    off = abs(float(ours["loss"]) - answer["loss"]) / answer["loss"]
    print(f"{name}: losses {float(ours['loss']):.7f} and {answer['loss']:.7f} differ by {off:.1e}")
    assert off < 1e-5


def test_the_documented_fine_tuning_runs(
    theirs: Terratorch, words: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/terratorch.md as it is, but for the number of steps: from a run to a segmentation model."""
    monkeypatch.chdir(tmp_path)
    data = [word for word in words["300m"] if word.startswith("data")]
    size = mae_of(compose(["experiment=demo_earth"])).image_size
    demo = ["experiment=demo_earth", *TRAINING, *data, f"data.chip_size={SIZE}", f"data.crop_size={size}"]
    run = [*demo, "parallelism=single", *layout(ranks=1), "training.steps=2", "run.dir=runs/earth"]
    assert train_in_one_process([run], tmp_path / "codes") == [0]
    export(tmp_path, "runs/earth", "earth.pt")
    text = (CHECKOUT / "docs" / "terratorch.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(from pathlib.*?)```", text, re.DOTALL)
    exec(compile(program, "docs/terratorch.md", "exec"), {})
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert (steps := "max_steps: 400") in config
    Path("fine-tune.yaml").write_text(config.replace(steps, "max_steps: 4"), encoding="utf-8")
    found = theirs.ask("fitted", folder=str(tmp_path), config="fine-tune.yaml", checkpoint="earth.pt")
    assert found["steps"] == 4
    assert [line for line in found["warnings"] if "eys" in line or "ckpt" in line] == []
    assert 0 < max(found["moved"].values()) < 5 * 1e-3, "Adam moves a number by about its rate in a step"


@pytest.fixture(scope="module")
def returned(folder: Path, words: dict[str, list[str]]) -> Path:
    """NAME-back of each case: its export imported, exported again, and continued in another layout for a step.

    The last step of a run has the learning rate 0, so that training changes nothing.
    """
    jobs = []
    for name, case in CASES.items():
        own = [*words[name], "training.steps=1", "optimizer.lr=1e-3", f"run.dir={folder / name}-back"]
        done = slipway("import", "terratorch", f"{name}.pt", *own, cwd=folder)
        assert done.returncode == 0, done.stderr
        export(folder, f"{name}-back", f"{name}-at-once.pt")
        jobs.append([*own, *case.other])
    assert train_in_one_process(jobs, folder / "codes") == [0] * len(CASES)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_what_comes_back_is_trained_on_in_another_layout_and_has_equal_bits(
    returned: Path, name: str
) -> None:
    given = torch.load(returned / f"{name}.pt", weights_only=True)
    (steps,) = [sorted(p.name for p in (returned / f"{name}-back/checkpoints").glob("step-*"))]
    assert steps == ["step-00000000", "step-00000001"]
    export(returned, f"{name}-back", f"{name}-trained.pt")
    for file in (f"{name}-at-once.pt", f"{name}-trained.pt"):
        again = torch.load(returned / file, weights_only=True)
        assert list(again) == list(given)
        different = [key for key, value in given.items() if not torch.equal(value, again[key])]
        assert different == [], file
    shutil.rmtree(returned / f"{name}-back")


MODULES = {
    "encoder.patch_embed": "patch_embedding",
    "encoder.cls_token": "cls_token",
    "encoder.temporal_embed_enc": "time_scale",
    "encoder.location_embed_enc": "location_scale",
    "encoder.blocks": "encoder.layers",
    "encoder.norm": "encoder.final_layernorm",
    "decoder.decoder_embed": "decoder_embedding",
    "decoder.mask_token": "mask_token",
    "decoder.temporal_embed_dec": "decoder_time_scale",
    "decoder.location_embed_dec": "decoder_location_scale",
    "decoder.decoder_blocks": "decoder.layers",
    "decoder.decoder_norm": "decoder.final_layernorm",
    "decoder.decoder_pred": "prediction",
}
WITHIN = {
    "norm1": "input_layernorm",
    "attn.qkv": "self_attention.linear_qkv",
    "attn.proj": "self_attention.linear_proj",
    "norm2": "pre_mlp_layernorm",
    "mlp.fc1": "mlp.linear_fc1",
    "mlp.fc2": "mlp.linear_fc2",
}


def by_module(shapes: dict[str, list[int]], modules: Iterable[str], within: Iterable[str]) -> dict[str, int]:
    """Parameters of each of the model's modules; those of blocks are `MODULE.NUMBER.PART`."""
    counts: dict[str, int] = defaultdict(int)
    parts = "|".join(map(re.escape, within))
    pattern = re.compile(
        rf"({'|'.join(map(re.escape, modules))})(\.\d+\.({parts}))?(\.(weight|bias|scale|proj\..*))?"
    )
    for name, shape in shapes.items():
        found = pattern.fullmatch(name)
        assert found, name
        counts[found[1] + (found[2] or "")] += prod(shape)
    return counts


def test_parameter_counts_are_terratorchs_module_by_module(theirs: Terratorch, tmp_path: Path) -> None:
    """Ours as the trainer builds them on torch's meta device, theirs under the presets' names."""
    jobs = {name: [0, [f"model={name}", "data=any_imagery", "parallelism=single"]] for name in PRESETS}
    program = Path(__file__).parent.parent / "meta_parameters.py"
    done = warm.run(
        [sys.executable, str(program), str(tmp_path / "built"), "parameters"],
        input=json.dumps(jobs),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    built = json.loads((tmp_path / "built").read_text())
    for name, their_name in PRESETS.items():
        found = theirs.ask("counts", name=f"{their_name}_mae", num_frames=4)
        other = by_module(found["parameters"], MODULES, WITHIN)
        ours = by_module({key: shape for key, shape, _ in built[name]}, MODULES.values(), WITHIN.values())
        renamed = {
            re.sub(r"^(.*?)(\.\d+\.)(.*)$", lambda m: MODULES[m[1]] + m[2] + WITHIN[m[3]], key)
            if key not in MODULES
            else MODULES[key]: count
            for key, count in other.items()
        }
        assert ours == renamed
        total = sum(ours.values())
        print(f"{name}: {total:,} parameters, {len(ours)} modules; {their_name}_mae: {sum(other.values()):,}")
        assert total == TOTALS[name]
        assert set(found["buffers"]) == {"encoder.pos_embed", "decoder.decoder_pos_embed"}
