"""Run by the Python of .venv-terratorch: answers requests about real terratorch, one JSON object a line.

One process serves all tests, as the import takes up to a minute. Shares no code with Slipway.
"""

import json
import logging
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import numpy as np
import torch

os.environ["HF_HUB_OFFLINE"] = "1"


def allow_cpu() -> None:
    """Let torchvision be imported beside a torch for CPU only, whose operators in C++ are for torch with CUDA.

    It names two of them at import; none is called by what is tested here.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_library"] = library  # what it defines ends with it


class Warnings(logging.Handler):
    """All that libraries warn of while it is there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def registries() -> tuple[Any, Any]:
    """Of backbones and of whole models."""
    module = import_module("terratorch.registry")
    return module.BACKBONE_REGISTRY, module.FULL_MODEL_REGISTRY


def counts(name: str, num_frames: int) -> dict[str, Any]:
    """Of a whole model as terratorch has it: shapes of parameters, shapes of buffers."""
    with torch.device("meta"):
        model = registries()[1].build(name, pretrained=False, num_frames=num_frames)
    return {
        "parameters": {key: list(value.shape) for key, value in model.named_parameters()},
        "buffers": {key: list(value.shape) for key, value in model.named_buffers()},
    }


def loaded(name: str, file: str, backbone: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """What is missing or too much where terratorch loads a file, as a backbone and as a whole model."""
    backbones, models = registries()
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    logging.getLogger("terratorch").addHandler(warnings)
    try:
        encoder = backbones.build(name, pretrained=True, ckpt_path=file, **backbone)
        model = models.build(f"{name}_mae", pretrained=True, ckpt_path=file, **whole)
    finally:
        logging.getLogger().removeHandler(warnings)
        logging.getLogger("terratorch").removeHandler(warnings)
    given = torch.load(file, map_location="cpu", weights_only=True)
    strict = models.build(f"{name}_mae", pretrained=False, **whole).load_state_dict(given, strict=True)
    held = encoder.state_dict()
    return {
        "warnings": warnings.lines,
        "missing": list(strict.missing_keys),
        "unexpected": list(strict.unexpected_keys),
        "encoder": sorted(key for key in held if not torch.equal(held[key], given[f"encoder.{key}"])),
        "whole": sorted(
            key for key, value in model.state_dict().items() if not torch.equal(value, given[key])
        ),
        "names": sorted(held),
    }


@torch.no_grad()
def computed(
    name: str, file: str, backbone: dict[str, Any], whole: dict[str, Any], inputs: str, outputs: str
) -> dict[str, Any]:
    """Features of all patches, and the loss under a given mask.

    inputs: pixels [b, t, c, h, w] and mean, std [c], visible [b, n]; for models that take them dates [b, t, 2] and
    location [b, 2]. Writes features [b, 1 + patches, width] and latent [b, 1 + n, width].
    """
    given = {key: torch.from_numpy(value) for key, value in np.load(inputs).items()}
    pixels = (given["pixels"].float() - given["mean"][:, None, None]) / given["std"][:, None, None]
    x = pixels.transpose(1, 2)
    places = (given.get("dates"), given.get("location"))
    backbones, models = registries()
    # one of its models asks for "medium" where it is imported, which on a CPU with AMX multiplies in bf16
    torch.set_float32_matmul_precision("highest")
    encoder = backbones.build(name, pretrained=True, ckpt_path=file, **backbone).eval()
    features = encoder(x, *places)

    model = models.build(f"{name}_mae", pretrained=True, ckpt_path=file, **whole).eval()
    visible = given["visible"]
    noise = torch.full((len(x), model.encoder.patch_embed.num_patches), 1.0)
    first = torch.arange(visible.shape[1]) / visible.shape[1] - 1.0  # below 1, so kept, and in this order
    noise.scatter_(1, visible, first.expand(len(x), -1))
    masking = model.encoder.random_masking
    model.encoder.random_masking = lambda sequence, ratio: masking(sequence, ratio, noise)
    latent, mask, _ = model.encoder(x, *places, mask_ratio=model.mask_ratio)
    losses, _, _ = model(x, *places)
    np.savez(outputs, features=features[-1].numpy(), latent=latent.numpy(), mask=mask.numpy())
    return {"loss": losses["loss"].item(), "layers": len(features)}


def fitted(folder: str, config: str, checkpoint: str) -> dict[str, Any]:
    """What `terratorch fit -c CONFIG` in a folder has done: steps, warnings, and how far the encoder is from a file."""
    os.chdir(folder)
    warnings = Warnings()
    logging.getLogger("terratorch").addHandler(warnings)
    cli = import_module("terratorch.cli_tools").build_lightning_cli(["fit", "-c", config])
    logging.getLogger("terratorch").removeHandler(warnings)
    given = torch.load(checkpoint, map_location="cpu", weights_only=True)
    encoder = cli.model.model.encoder.state_dict()
    moved = {key: float((value - given[f"encoder.{key}"]).abs().max()) for key, value in encoder.items()}
    moved.pop("pos_embed")
    return {"steps": cli.trainer.global_step, "warnings": warnings.lines, "moved": moved}


def main() -> None:
    """Answer until the input ends."""
    allow_cpu()
    import_module("terratorch")
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": globals()[request.pop("call")](**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(f"answer: {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
