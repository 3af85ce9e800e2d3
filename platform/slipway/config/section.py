"""The base of every section, and the fields that all model families, data kinds and optimizers have in common."""

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
        """Return the value. Raises ValueError for true in a number's place, which Python and pydantic take for 1."""
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items):
            kinds = _types(cls.model_fields[str(info.field_name)].annotation)
            if bool not in kinds and kinds & {int, float}:
                raise ValueError("must be a number, not true or false")
        return value


def _types(annotation: Any) -> set[Any]:
    """Return all types that an annotation consists of."""
    return (
        {annotation}
        if isinstance(annotation, type) and not get_args(annotation)
        else set().union(*map(_types, get_args(annotation)))
    )


class ModelSection(Section):
    """The fields that every model family's configuration has."""

    family: str = Field(description="The model family: which package builds the model.")
    name: str = Field(description="Name of the preset, used in default run names.")


class SourceSection(Section):
    """The fields that every source of samples has, whatever its kind."""

    weight: NonNegativeFloat = Field(
        default=1.0, description="Relative share of the samples drawn from this source; 0: draw none for now."
    )


class DataSection(Section):
    """The fields that every kind of data has: named sources, from which samples are drawn by weight."""

    kind: str = Field(description="Kind of data, which selects the package that prepares and reads it.")
    name: str = Field(description="Name of the preset.")
    sources: Mapping[SourceName, SourceSection] = Field(
        min_length=1, description="Sources by name; their prepared files carry the same name."
    )
    readers: PositiveInt = Field(
        default=1, description="Threads of each rank that read samples; set more if samples must be decoded."
    )
    demo_units: PositiveInt | None = Field(
        default=None,
        description="Approximate units (tokens, patches...) of demonstration data; models with more than 10 "
        "parameters for each of them are refused. null: data for real training.",
    )
    allow_large_models: bool = Field(
        default=False, description="Accept demonstration data for large models, too."
    )

    @property
    def weights(self) -> dict[str, float]:
        """The blend: relative shares of the sources that are drawn."""
        return {name: source.weight for name, source in self.sources.items() if source.weight}


class OptimizerSection(Section):
    """The fields that every optimizer has: the schedule of its learning rate, weight decay and clipping."""

    name: str = Field(description="The algorithm.")
    lr: PositiveFloat = Field(description="Peak learning rate.")
    min_lr: NonNegativeFloat = Field(default=0.0, description="Learning rate at the end of the decay.")
    lr_warmup_steps: NonNegativeInt = Field(default=0, description="Steps of linear warm-up from zero.")
    lr_warmup_fraction: PositiveFloat | None = Field(
        default=None,
        lt=1.0,
        description="Share of the run's steps used for warm-up, instead of lr_warmup_steps.",
    )
    lr_decay_style: Literal["constant", "linear", "cosine", "WSD"] = Field(
        default="cosine", description="Shape of the decay; WSD: warm-up, stable, decay."
    )
    lr_wsd_decay_steps: PositiveInt | None = Field(
        default=None, description="Number of steps at the end in which WSD decays."
    )
    lr_wsd_decay_fraction: PositiveFloat | None = Field(
        default=None,
        lt=1.0,
        description="Share of the run's steps in which WSD decays, instead of lr_wsd_decay_steps.",
    )
    weight_decay: NonNegativeFloat = Field(
        default=0.1, description="Decoupled weight decay, multiplied by the learning rate."
    )
    clip_grad: NonNegativeFloat = Field(
        default=1.0, description="Largest global gradient norm; 0: no clipping."
    )
