"""What `slipway evaluate` finds out of a masked auto-encoder: a linear probe for land cover on generated scenes."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.imagery.config import imagery_of
from slipway.data.imagery.generated.land import CLASSES
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
TRAINED, RANDOM, RAW = "trained encoder", "same encoder, random weights", "raw pixels of the patch"
HOW = (
    "Linear probe for {classes} classes of land cover on generated scenes of other places than training's: the encoder "
    "is frozen and sees all patches; its last layer after the norm, without the class token, all dates of a place side "
    "by side, standardised; one linear layer, logits brought to pixels bilinearly. {train} chips to fit, {test} to "
    "measure, anew for each of {seeds} seeds, as are the random weights. mIoU: from one confusion matrix of all test "
    "pixels, the mean over the classes; a class in neither truth nor prediction is left out."
)


class LinearProbe:
    """See slipway.models.evaluation.Evaluation."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError where the model reads other bands than the generated scenes have."""
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
        """Fit the probe to the trained encoder, to random weights and to raw pixels, for several seeds."""
        import torch

        from slipway.models.mae.probe import Probe, accuracy, ious, mean_iou

        settings, moments = mae_of(config), _moments(config)
        found: dict[str, list[Tensor]] = {TRAINED: [], RANDOM: [], RAW: []}
        for seed in range(SEEDS):
            sides = [
                labelled(settings, (side, seed), scenes)
                for side, scenes in (("fit", TRAIN_SCENES), ("measure", TEST_SCENES))
            ]
            encoders = {TRAINED: model, RANDOM: untrained(seed), RAW: None}
            labels = [torch.from_numpy(side.labels).long().to(device) for side in sides]
            for what, encoder in encoders.items():
                fit, measure = (_features(side, settings, moments, encoder, device) for side in sides)
                probe = Probe(fit, labels[0], len(CLASSES), seed)
                found[what].append(probe.confusion(measure, labels[1]))
        return Result(
            name="segmentation",
            title="Linear probe for land cover",
            step=step,
            scores=[
                Score(what=what, measure=name, values=[measure(one) for one in of_what])
                for what, of_what in found.items()
                for name, measure in (("mIoU", mean_iou), ("accuracy", accuracy))
            ],
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
    """The mean and std [bands] by which training normalises. Raises UserError where the data is not there."""
    import torch

    fields = ("mean", "std")
    dataset = kind_of(config).open(config, "training", frozenset(fields))
    try:
        sample = dataset[Draw(next(iter(config.data.weights)), 0)]
    finally:
        dataset.close()
    return {name: torch.as_tensor(sample[name]) for name in fields}


def _features(
    side: Labelled,
    model: Config,
    moments: "Mapping[str, Tensor]",
    encoder: "torch.nn.Module | None",
    device: "torch.device",
) -> "Tensor":
    """[chips, rows, columns, values], fp32: the encoder's, or the normalised pixels; all dates of a place together."""
    import torch

    from slipway.models.mae.patches import normalized, patches
    from slipway.models.mae.stage import MaskedAutoencoder

    def of(batch: "dict[str, Tensor]") -> "Tensor":
        if encoder is not None:
            assert isinstance(encoder, MaskedAutoencoder)
            return encoder.features(batch).float()
        values = patches(batch["pixels"], model)
        return normalized(values, batch["mean"], batch["std"]).flatten(2)

    frames, rows, columns = model.grid
    with torch.no_grad():
        every = torch.cat([of(batch) for batch in _batches(side, moments, device)])
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
