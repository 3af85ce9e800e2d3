"""Pictures of what a masked auto-encoder was shown, what was hidden, and how it filled that in, in true colour."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.imagery.config import imagery_of
from slipway.data.randomness import SEED_FIELD
from slipway.models.mae import masks
from slipway.models.mae.config import Config, mae_of
from slipway.models.mae.patches import EPSILON, chosen, known, normalized, patches
from slipway.models.network import Batch, Picture

ACROSS, MOST_SAMPLES, MOST_PIXELS = (
    2,
    4,
    1_500_000,
)  # a picture of 224 x 224 pixels at four dates shows two samples
COLOURS = ("red", "green", "blue")
HIDDEN, GAP, UNKNOWN = 0.5, 1.0, 0.0  # grey, white, black
DARK, BRIGHT, GAMMA = (
    0.02,
    0.98,
    1.5,
)  # quantiles of a sample that become black and white; a display's exponent
CAPTION = (
    "Samples of validation, their dates side by side; top to bottom: input, masked, reconstructed (what was visible is "
    "kept). {bands}; black: no data."
)


def picture(config: RunConfig, batch: Batch, output: Tensor) -> Picture:
    """Return a picture of the first samples, two side by side: three rows for each, a column for each date.

    batch: pixels [b, frames, bands, height, width], mean and std [b, bands], sample_seed [b]. output: predictions of
    the hidden patches, [b, hidden, values]. Only the input determines how colours are stretched, so that pictures of
    the same samples can be compared.
    """
    model = mae_of(config)
    room = MOST_PIXELS // (3 * model.num_frames * model.image_size**2)
    number = max(1, min(MOST_SAMPLES, room, len(output)))
    fields = {name: batch[name][:number].cpu() for name in ("pixels", "mean", "std", SEED_FIELD)}
    mask = masks.draw(fields[SEED_FIELD], model.num_patches, model.num_visible)
    colours, said = _colours(imagery_of(config).bands)

    values = patches(fields["pixels"], model)
    there = known(values)
    inputs = normalized(values, fields["mean"], fields["std"])
    filled = inputs.clone()
    samples = torch.arange(number)[:, None]
    filled[samples, mask.hidden] = predicted(
        output[:number].float().cpu(), chosen(inputs, mask.hidden), chosen(there, mask.hidden), model
    )
    seen = torch.zeros(number, model.num_patches, 1, 1, dtype=torch.bool).index_put(
        (samples, mask.visible), torch.ones((), dtype=torch.bool)
    )
    blocks = []
    for i in range(number):
        stretched = _stretch(inputs[i], there[i], fields["mean"][i], fields["std"][i], colours)
        rows = [
            torch.where(there[i][:, colours], stretched(inputs[i]), UNKNOWN),
            torch.where(seen[i], torch.where(there[i][:, colours], stretched(inputs[i]), UNKNOWN), HIDDEN),
            torch.where(seen[i] & ~there[i][:, colours], UNKNOWN, stretched(filled[i])),
        ]
        blocks.append(_beside([_beside(list(images(row, model)), 2) for row in rows], 1, down=True))
    lines = [_beside(blocks[first : first + ACROSS], 8) for first in range(0, number, ACROSS)]
    lines[-1] = torch.nn.functional.pad(
        lines[-1], (0, 0, 0, lines[0].shape[1] - lines[-1].shape[1]), value=GAP
    )
    whole = _beside(lines, 8, down=True)
    return Picture(
        (whole * 255).round().to(torch.uint8).numpy(),
        CAPTION.format(bands=said),
    )


def predicted(output: Tensor, wanted: Tensor, there: Tensor, model: Config) -> Tensor:
    """Return the decoder's output [b, hidden, values] as an input's values, [b, hidden, bands, values of a band].

    wanted, there: of the hidden patches, see patches.normalized and patches.known. With `normalize_patches`, the mean
    and deviation of each patch, which the decoder does not predict, are the true ones.
    """
    values = output.unflatten(2, (-1, model.num_bands)).transpose(2, 3)
    if not model.normalize_patches:
        return values
    number = there.sum((2, 3), keepdim=True).clamp(min=1)
    mean = torch.where(there, wanted, 0.0).sum((2, 3), keepdim=True) / number
    off = torch.where(there, wanted - mean, 0.0)
    variance = off.square().sum((2, 3), keepdim=True) / (number - 1).clamp(min=1)
    return values * (variance + EPSILON).sqrt() + mean


def images(values: Tensor, model: Config) -> Tensor:
    """Return patches [patches, colours, values of a band] as images [frames, height, width, colours].

    This undoes patches.patches.
    """
    frames, rows, columns = model.grid
    depth, side = model.patch_frames, model.patch_size
    parts = values.view(frames, rows, columns, -1, depth, side, side).permute(0, 4, 1, 5, 2, 6, 3)
    return parts.reshape(frames * depth, rows * side, columns * side, -1)


def _colours(bands: Sequence[str]) -> tuple[list[int], str]:
    """Return the bands to show as red, green and blue, and their description."""
    if set(COLOURS) <= set(bands):
        return [bands.index(name) for name in COLOURS], "True colour"
    shown = [0, 1, 2] if len(bands) > 2 else [0, 0, 0]
    return shown, f"Bands {', '.join(dict.fromkeys(bands[i] for i in shown))}"


def _stretch(inputs: Tensor, there: Tensor, mean: Tensor, std: Tensor, colours: Sequence[int]):  # noqa: ANN202
    """Return a function from a sample's normalized values to brightness 0 to 1, the same for all three colours."""
    mean, std = mean[colours, None], std[colours, None]
    real = (inputs[:, colours] * std + mean)[there[:, colours]]
    ends = torch.tensor([DARK, BRIGHT], dtype=real.dtype)
    low, high = real.quantile(ends) if len(real) else ends
    return lambda values: (
        ((values[:, colours] * std + mean - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) ** (1 / GAMMA)
    )


def _beside(parts: Sequence[Tensor], gap: int, down: bool = False) -> Tensor:
    """Join pictures [height, width, 3] from left to right, or from top to bottom, with a gap between."""
    axis = 0 if down else 1
    shape = list(parts[0].shape)
    shape[axis] = gap
    joined = [parts[0]]
    for part in parts[1:]:
        joined += [torch.full(shape, GAP), part]
    return torch.cat(joined, axis)
