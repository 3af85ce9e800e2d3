"""What every section of the configuration is, and what all model families, data kinds and optimizers have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must name a folder")
    return value


Folder = Annotated[Path, BeforeValidator(_not_empty)]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Section(BaseModel):
    """A frozen section of the configuration that refuses unknown keys, and true or false for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Return Python, and pydantic with it, takes true for the number 1."""
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items):
            kinds = _types(cls.model_fields[str(info.field_name)].annotation)
            if bool not in kinds and kinds & {int, float}:
                raise ValueError("must be a number, not true or false")
        return value


def _types(annotation: Any) -> set[Any]:
    """Return all types that an annotation is made of."""
    return (
        {annotation}
        if isinstance(annotation, type) and not get_args(annotation)
        else set().union(*map(_types, get_args(annotation)))
    )


class ModelSection(Section):
    """What every model family's configuration has."""

    family: str = Field(description="The model family: which package builds the model.")
    name: str = Field(description="Name of the preset, used in default run names.")


class SourceSection(Section):
    """What every source of samples has, whatever its kind."""

    weight: NonNegativeFloat = Field(
        default=1.0, description="Share of the samples drawn from this source, relative; 0: none for now."
    )


class DataSection(Section):
    """What every kind of data has: named sources, from which samples are drawn by weight."""

    kind: str = Field(description="The kind of data: which package prepares and reads it.")
    name: str = Field(description="Name of the preset.")
    sources: Mapping[SourceName, SourceSection] = Field(
        min_length=1, description="By name; the name is their files'."
    )
    readers: PositiveInt = Field(
        default=1, description="Threads of each rank that read samples; more where samples must be decoded."
    )
    demo_units: PositiveInt | None = Field(
        default=None,
        description="Units (tokens, patches...), about, of data that is there to try things; models with more than 10 "
        "parameters for each of them are refused. null: of data to train on.",
    )
    allow_large_models: bool = Field(
        default=False, description="Take data that is there to try things for large models, too."
    )

    @property
    def weights(self) -> dict[str, float]:
        """The blend: relative shares of the sources that are drawn."""
        return {name: source.weight for name, source in self.sources.items() if source.weight}


class OptimizerSection(Section):
    """What every optimizer has: the schedule of its learning rate, weight decay and clipping."""

    name: str = Field(description="The algorithm.")
    lr: PositiveFloat = Field(description="Peak learning rate.")
    min_lr: NonNegativeFloat = Field(default=0.0, description="Learning rate at the end of the decay.")
    lr_warmup_steps: NonNegativeInt = Field(default=0, description="Steps of linear warm-up from zero.")
    lr_warmup_fraction: PositiveFloat | None = Field(
        default=None, lt=1.0, description="Share of the run's steps, instead of lr_warmup_steps."
    )
    lr_decay_style: Literal["constant", "linear", "cosine", "WSD"] = Field(
        default="cosine", description="Shape of the decay; WSD: warm-up, stable, decay."
    )
    lr_wsd_decay_steps: PositiveInt | None = Field(
        default=None, description="Last steps, in which WSD decays."
    )
    lr_wsd_decay_fraction: PositiveFloat | None = Field(
        default=None, lt=1.0, description="Share of the run's steps, instead of lr_wsd_decay_steps."
    )
    weight_decay: NonNegativeFloat = Field(default=0.1, description="Decoupled, times the learning rate.")
    clip_grad: NonNegativeFloat = Field(
        default=1.0, description="Largest global gradient norm; 0: no clipping."
    )
