"""Pixels, patches and the loss, number by number."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slipway.data.imagery.chip import NODATA
from slipway.models.mae.config import Config
from slipway.models.mae.patches import Targets, chosen, known, loss, normalized, patches, targets

SIZES = st.fixed_dictionaries(
    {
        "frames": st.integers(1, 3),
        "depth": st.integers(1, 2),
        "bands": st.integers(1, 4),
        "side": st.integers(1, 3),
        "patch": st.integers(1, 4),
    }
)


def model(frames: int, depth: int, bands: int, side: int, patch: int) -> Config:
    """frames: patches in time, of `depth` dates; side: patches in height and width, of `patch` pixels."""
    return Config.model_validate(
        dict(
            name="test",
            image_size=side * patch,
            num_frames=frames * depth,
            num_bands=bands,
            patch_size=patch,
            patch_frames=depth,
            num_layers=1,
            hidden_size=32,
            num_attention_heads=2,
            decoder_num_layers=1,
            decoder_hidden_size=16,
            decoder_num_attention_heads=2,
        )
    )


def pixels_of(model: Config, samples: int = 2, unknown: float = 0.0) -> Tensor:
    shape = (samples, model.num_frames, model.num_bands, model.image_size, model.image_size)
    numbers = torch.Generator().manual_seed(1)
    pixels = torch.randint(-300, 9000, shape, generator=numbers).to(torch.int16)
    pixels[torch.rand(shape, generator=numbers) < unknown] = NODATA
    return pixels


def scales(model: Config, samples: int = 2) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(2)
    shape = (samples, model.num_bands)
    return 3000 * torch.rand(shape, generator=numbers), 500 + 500 * torch.rand(shape, generator=numbers)


@given(SIZES)
def test_patches_are_numbered_by_time_row_and_column(sizes: dict[str, int]) -> None:
    config = model(**sizes)
    pixels = pixels_of(config)
    found = patches(pixels, config)
    assert found.dtype == torch.int16
    size, depth = config.patch_size, config.patch_frames
    times, rows, columns = config.grid
    for number, (time, row, column) in enumerate(product(range(times), range(rows), range(columns))):
        own = pixels[
            :,
            time * depth : (time + 1) * depth,
            :,
            row * size : (row + 1) * size,
            column * size : (column + 1) * size,
        ]
        assert torch.equal(found[:, number], own.transpose(1, 2).flatten(2))


@given(SIZES)
def test_the_embedding_is_a_convolution_in_three_dimensions(sizes: dict[str, int]) -> None:
    config = model(**sizes)
    weight = torch.randn(5, config.patch_values, generator=torch.Generator().manual_seed(3))
    pixels, (mean, std) = pixels_of(config), scales(config)
    embedded = normalized(patches(pixels, config), mean, std).flatten(2) @ weight.T
    kernel = (config.patch_frames, config.patch_size, config.patch_size)
    images = (pixels.float() - mean[:, None, :, None, None]) / std[:, None, :, None, None]
    whole = F.conv3d(images.transpose(1, 2), weight.view(5, -1, *kernel), stride=kernel)
    assert torch.allclose(embedded, whole.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


def plain_loss(
    config: Config, pixels: Tensor, predicted: Tensor, hidden: Tensor, mean: Tensor, std: Tensor
) -> float:
    """By He et al., patch by patch; predictions are of time, row, column, band."""
    size, depth = config.patch_size, config.patch_frames
    _, rows, columns = config.grid
    losses = []
    for sample, numbers in enumerate(hidden.tolist()):
        for place, number in enumerate(numbers):
            time, row, column = number // (rows * columns), number // columns % rows, number % columns
            wanted, missing = [], []
            for t, p, q, c in product(range(depth), range(size), range(size), range(config.num_bands)):
                pixel = int(pixels[sample, time * depth + t, c, row * size + p, column * size + q])
                wanted.append((pixel - float(mean[sample, c])) / float(std[sample, c]))
                missing.append(pixel == NODATA)
            there = [i for i, gone in enumerate(missing) if not gone]
            if not there:
                continue
            values = torch.tensor([wanted[i] for i in there], dtype=torch.float64)
            if config.normalize_patches:
                variance = float(values.var()) if len(there) > 1 else 0.0
                values = (values - values.mean()) / (variance + 1e-6) ** 0.5
            off = predicted[sample, place, there].double() - values
            losses.append(float(off.square().mean()))
    return sum(losses) / len(losses) if losses else 0.0


@given(SIZES, st.booleans(), st.sampled_from([0.0, 0.3, 0.9]))
def test_the_loss_is_the_mean_over_hidden_patches_of_what_is_known(
    sizes: dict[str, int], normalize: bool, unknown: float
) -> None:
    config = model(**sizes).model_copy(update={"normalize_patches": normalize})
    pixels, (mean, std) = pixels_of(config, unknown=unknown), scales(config)
    hidden = torch.arange(config.num_patches).expand(2, -1)[:, ::2]
    predicted = torch.randn(
        2, hidden.shape[1], config.patch_values, generator=torch.Generator().manual_seed(4)
    )
    wanted = targets(chosen(patches(pixels, config), hidden), mean, std, normalize)
    total, count = loss(predicted, wanted)
    expected = plain_loss(config, pixels, predicted, hidden, mean, std)
    assert float(total) == pytest.approx(expected * int(count), rel=1e-4, abs=1e-4)


def test_what_is_not_known_neither_enters_nor_counts() -> None:
    config = model(frames=1, depth=1, bands=2, side=2, patch=2)
    pixels, (mean, std) = pixels_of(config), scales(config)
    pixels[0, :, :, :2, :2] = NODATA  # a patch of the first sample
    pixels[1, :, 1] = NODATA  # a band of the second
    values = patches(pixels, config)
    entered = normalized(values, mean, std)
    assert not entered[0, 0].any() and not entered[1, :, 1].any() and entered[1, :, 0].all()
    wanted = targets(values, mean, std, normalize_patches=False)
    predicted = torch.zeros_like(wanted.values).requires_grad_()
    total, count = loss(predicted, wanted)
    total.backward()
    assert count == 7
    assert predicted.grad is not None
    assert torch.equal(predicted.grad != 0, wanted.known)


def test_products_in_floating_point_have_no_number_where_nothing_is_known() -> None:
    config = model(frames=1, depth=1, bands=2, side=2, patch=2)
    pixels, (mean, std) = pixels_of(config, unknown=0.3), scales(config)
    floating = pixels.to(torch.float16).masked_fill(pixels == NODATA, torch.nan)
    assert torch.equal(known(floating), known(pixels))
    one, other = (
        targets(patches(each, config), mean, std, normalize_patches=True) for each in (pixels, floating)
    )
    assert torch.equal(one.known, other.known)
    assert torch.allclose(one.values, other.values, atol=0.05)  # fp16 holds 11 bits
    assert loss(one.values, Targets(other.values, other.known))[0] < 0.01
