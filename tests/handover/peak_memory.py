"""Peak memory of `slipway import hf` and `slipway export hf` of a generated Llama: python peak_memory.py MEGABYTES.

Each command runs in a process of its own. What the same command needs of a model of some kilobytes is subtracted: the
rest is what the weights cost. Prints JSON; all sizes are in MB (10**6 bytes).
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from handover import folders

PER_SHARD = 2
SMALL = folders.CONFIG
PROGRAM = """
import sys
from slipway.cli import main
code = main(sys.argv[2:])
status = open("/proc/self/status").read()
with open(sys.argv[1], "w") as file:
    file.write(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
sys.exit(code)
"""
Run = Callable[[list[str], Path], int]


def large(megabytes: int, width: int = 1024, vocabulary: int = 32000) -> dict[str, Any]:
    """The config.json of a model with about so many MB in fp32; its tables are its largest tensors."""
    of_layer = 4 * (4 * width * width + 3 * width * 4 * width)
    tables = 2 * 4 * vocabulary * width
    layers = max(1, round((megabytes * 10**6 - tables) / of_layer))
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "head_dim": 64, "vocab_size": vocabulary}
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64}
    return SMALL | sizes | heads | {"num_hidden_layers": layers}


def generate(folder: Path, config: dict[str, Any]) -> tuple[int, int]:
    """Write a folder shard by shard; return the bytes of all tensors, and of the largest."""
    folder.mkdir()
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in _meta(config).items()}
    names, numbers, places = list(shapes), torch.Generator().manual_seed(1), {}
    groups = [names[at : at + PER_SHARD] for at in range(0, len(names), PER_SHARD)]
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: torch.randn(shapes[name], generator=numbers) for name in group}, folder / file)
        places |= dict.fromkeys(group, file)
    (folder / folders.INDEX).write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(config))
    folders.tokenizer(folder)
    sizes = [4 * prod(shape) for shape in shapes.values()]
    return sum(sizes), max(sizes)


def _meta(config: dict[str, Any]) -> dict[str, Any]:
    width, mlp, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size, groups = config["head_dim"], config["num_key_value_heads"]
    tables = torch.empty(config["vocab_size"], width)
    found = {
        "model.embed_tokens.weight": tables,
        "model.norm.weight": torch.empty(width),
        "lm_head.weight": tables,
    }
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {
            "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
            "self_attn.q_proj": (heads * size, width),
            "self_attn.k_proj": (groups * size, width),
            "self_attn.v_proj": (groups * size, width),
            "self_attn.o_proj": (width, heads * size),
            "mlp.gate_proj": (mlp, width),
            "mlp.up_proj": (mlp, width),
            "mlp.down_proj": (width, mlp),
        }.items():
            found[f"model.layers.{layer}.{name}.weight"] = torch.empty(shape)
    return found


def cold(command: list[str], where: Path) -> int:
    """Run a command line of Python in a new process, in a folder; return its exit code."""
    return subprocess.run(
        [sys.executable, *command], cwd=where, stdout=subprocess.DEVNULL, check=False
    ).returncode


def measure(folder: Path, config: dict[str, Any], words: list[str], run: Run = cold) -> dict[str, float]:
    """Peaks of both commands above those of a tiny model, beside the largest tensor. words: of the import."""
    generate(folder / "tiny", SMALL)
    total, largest = generate(folder / "large", config)
    peaks: dict[str, float] = {}
    for name in ("tiny", "large"):
        source = ["hf", str(folder / name), f"run.dir={folder / name}-run", "model=auto", *words]
        target = ["hf", f"run.dir={folder / name}-run", f"to={folder / name}-out"]
        for verb, rest in (("import", source), ("export", target)):
            place = folder / "peak"
            assert run(["-c", PROGRAM, str(place), verb, *rest], folder) == 0, verb
            peaks[f"{verb} {name}"] = int(place.read_text()) * 1024 / 1e6
    return {
        "model": total / 1e6,
        "largest tensor": largest / 1e6,
        **{f"{verb} baseline": peaks[f"{verb} tiny"] for verb in ("import", "export")},
        **{
            f"{verb} above it": peaks[f"{verb} large"] - peaks[f"{verb} tiny"]
            for verb in ("import", "export")
        },
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="slipway-peak-") as place:
        found = measure(Path(place), large(int(sys.argv[1])), [*sys.argv[2:], "data=any_text"])
    print(json.dumps({name: round(value, 1) for name, value in found.items()}, indent=1))
