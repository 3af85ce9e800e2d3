"""The evaluation of a masked auto-encoder by `slipway evaluate`: a linear probe for land cover on generated scenes."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.imagery.config import imagery_of
from slipway.data.imagery.generated.land import CLASSES
from slipway.data.imagery.generated.patterns import stream
from slipway.data.imagery.generated.scene import BANDS
from slipway.data.ledger import Draw
from slipway.errors import UserError
from slipway.models.evaluation import Result, Score
from slipway.models.mae.config import Config, mae_of
from slipway.models.mae.labelled import CHIPS_ACROSS, Labelled, labelled

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SEEDS = 3
TRAIN_SCENES, TEST_SCENES = 12, 6
ENCODED_TOGETHER = 32
WHAT = TRAINED, RANDOM, RAW = "trained encoder", "same encoder, random weights", "raw pixels of the patch"
ONE, ALL = "one date", "all dates"
"""The dates of a chip that the encoder sees: a single acquisition, as most maps are made from, or the whole series."""
HOW = (
    "Linear probe for {classes} classes of land cover on generated scenes of other places than training's: the encoder "
    "is frozen and sees all patches of a chip, or those of one of its dates, drawn for each chip; its last layer after "
    "the norm, without the class token, all dates of a place side by side, standardised; one linear layer, logits "
    "brought to pixels bilinearly. {train} chips to fit, {test} to measure, anew for each of {seeds} seeds, as are the "
    "random weights. mIoU: from one confusion matrix of all test pixels, the mean over the classes; a class in neither "
    "truth nor prediction is left out."
)


class LinearProbe:
    """The linear probe: see slipway.models.evaluation.Evaluation."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError if the model reads other bands than the generated scenes have."""
        bands = imagery_of(config).bands
        if bands != BANDS:
            raise UserError(
                "data.bands",
                f"differs from {', '.join(BANDS)}, the bands of the generated scenes that the probe is fitted to",
                value=", ".join(bands),
                use="a run on these bands",
            )

    def evaluate(
        self,
        config: RunConfig,
        step: int,
        model: "torch.nn.Module",
        untrained: "Callable[[int], torch.nn.Module]",
        device: "torch.device",
    ) -> Result:
        """Fit the probe to the trained encoder, to random weights and to raw pixels, for several seeds.

        Return the scores.
        """
        import torch

        from slipway.models.mae.probe import Probe, accuracy, ious, mean_iou

        settings, moments = mae_of(config), _moments(config)
        found: dict[str, list[Tensor]] = {f"{what}, {seen}": [] for seen in (ONE, ALL) for what in WHAT}
        for seed in range(SEEDS):
            sides = [
                labelled(settings, (side, seed), scenes)
                for side, scenes in (("fit", TRAIN_SCENES), ("measure", TEST_SCENES))
            ]
            encoders = {TRAINED: model, RANDOM: untrained(seed), RAW: None}
            labels = [torch.from_numpy(side.labels).long().to(device) for side in sides]
            days = [_one_date(len(side.pixels), settings, seed, number) for number, side in enumerate(sides)]
            for what, encoder in encoders.items():
                for seen, chosen in ((ONE, days), (ALL, (None, None))):
                    fit, measure = (
                        _features(side, settings, moments, encoder, device, of_side)
                        for side, of_side in zip(sides, chosen, strict=True)
                    )
                    probe = Probe(fit, labels[0], len(CLASSES), seed)
                    found[f"{what}, {seen}"].append(probe.confusion(measure, labels[1]))
        return Result(
            name="segmentation",
            title="Linear probe for land cover",
            step=step,
            scores=[
                Score(what=what, measure=name, values=[measure(one) for one in of_what])
                for what, of_what in found.items()
                for name, measure in (("mIoU", mean_iou), ("accuracy", accuracy))
            ],
            headline=f"{TRAINED}, {ALL}",
            how=HOW.format(
                classes=len(CLASSES),
                train=TRAIN_SCENES * CHIPS_ACROSS**2,
                test=TEST_SCENES * CHIPS_ACROSS**2,
                seeds=SEEDS,
            ),
            facts={
                "classes": list(CLASSES),
                "iou": {what: [ious(one) for one in of_what] for what, of_what in found.items()},
                "confusion": {what: [one.tolist() for one in of_what] for what, of_what in found.items()},
            },
        )


def _moments(config: RunConfig) -> "Mapping[str, Tensor]":
    """Return the mean and std, [bands], by which training normalizes. Raises UserError if the data does not exist."""
    import torch

    fields = ("mean", "std")
    dataset = kind_of(config).open(config, "training", frozenset(fields))
    try:
        sample = dataset[Draw(next(iter(config.data.weights)), 0)]
    finally:
        dataset.close()
    return {name: torch.as_tensor(sample[name]) for name in fields}


def _one_date(chips: int, model: Config, *names: int) -> "Tensor":
    """Return a random date of each chip, [chips] int64, uniform over the model's dates."""
    import torch

    return torch.from_numpy(stream("date", *names).integers(0, model.grid[0], chips))


def _features(
    side: Labelled,
    model: Config,
    moments: "Mapping[str, Tensor]",
    encoder: "torch.nn.Module | None",
    device: "torch.device",
    days: "Tensor | None",
) -> "Tensor":
    """Return the encoder's features or the normalized pixels, [chips, rows, columns, values], fp32.

    The values of a place are those of all its dates. days: the one date of each chip that is seen; None: all are.
    """
    import torch

    from slipway.models.mae.patches import chosen, normalized, patches
    from slipway.models.mae.stage import MaskedAutoencoder

    frames, rows, columns = model.grid
    numbers = torch.arange(model.num_patches).expand(len(side.pixels), -1)
    if days is not None:
        frames = 1
        numbers = days[:, None] * (rows * columns) + torch.arange(rows * columns)

    def of(batch: "dict[str, Tensor]", seen: "Tensor") -> "Tensor":
        if encoder is not None:
            assert isinstance(encoder, MaskedAutoencoder)
            return encoder.features(batch, seen).float()
        values = chosen(patches(batch["pixels"], model), seen)
        return normalized(values, batch["mean"], batch["std"]).flatten(2)

    parts = numbers.to(device).split(ENCODED_TOGETHER)
    with torch.no_grad():
        batches = zip(_batches(side, moments, device), parts, strict=True)
        every = torch.cat([of(batch, seen) for batch, seen in batches])
    return every.view(len(every), frames, rows, columns, -1).permute(0, 2, 3, 1, 4).flatten(3)


def _batches(
    side: Labelled, moments: "Mapping[str, Tensor]", device: "torch.device"
) -> "Iterator[dict[str, Any]]":
    import torch

    for first in range(0, len(side.pixels), ENCODED_TOGETHER):
        few = slice(first, first + ENCODED_TOGETHER)
        fields = {
            name: torch.as_tensor(getattr(side, name)[few]).to(device)
            for name in ("pixels", "dates", "location")
        }
        number = len(fields["pixels"])
        yield {**fields, **{name: one.to(device).expand(number, -1) for name, one in moments.items()}}


EVALUATION = LinearProbe()
