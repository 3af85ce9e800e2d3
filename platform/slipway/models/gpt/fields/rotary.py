"""Rotary frequencies, stretched for contexts longer than those that a model was first trained on.

Names are those of `rope_scaling` in Hugging Face's config.json.
"""

from collections.abc import Mapping
from math import log
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, PositiveFloat, PositiveInt, SerializeAsAny, model_validator

from slipway.config.section import Section
from slipway.registry import by_tag


class Llama3(Section):
    """The stretching of Llama 3.1 (Grattafiori et al. 2024, arXiv 2407.21783.

    Its numbers are in the published config.json).
    """

    type: Literal["llama3"] = Field(description="Method by which frequencies are scaled.")
    factor: float = Field(ge=1.0, description="Factor by which low frequencies are divided.")
    low_freq_factor: PositiveFloat = Field(
        default=1.0, description="Turns in the original context up to which a frequency counts as low."
    )
    high_freq_factor: PositiveFloat = Field(
        default=4.0, description="Turns in the original context from which a frequency is not changed."
    )
    original_max_position_embeddings: PositiveInt = Field(
        default=8192, description="Longest sequence before scaling, in tokens."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor {self.low_freq_factor:g} must be below high_freq_factor {self.high_freq_factor:g}"
            )
        return self

    @property
    def attention_scale(self) -> float:
        """The factor of queries and of keys."""
        return 1.0


class Yarn(Section):
    """YaRN (Peng et al. 2023, arXiv 2309.00071)."""

    type: Literal["yarn"] = Field(description="Method by which frequencies are scaled.")
    factor: float = Field(ge=1.0, description="Factor by which low frequencies are divided.")
    original_max_position_embeddings: PositiveInt = Field(
        description="Longest sequence before scaling, in tokens."
    )
    beta_fast: PositiveFloat = Field(
        default=32.0, description="Turns in the original context from which a frequency is not changed."
    )
    beta_slow: PositiveFloat = Field(
        default=1.0, description="Turns in the original context up to which a frequency counts as low."
    )
    mscale: PositiveFloat | None = Field(
        default=None,
        description="Together with mscale_all_dim, as in DeepSeek: queries and keys are multiplied by (0.1 mscale "
        "ln factor + 1) / (0.1 mscale_all_dim ln factor + 1); null: by 0.1 ln factor + 1.",
    )
    mscale_all_dim: PositiveFloat | None = Field(default=None, description="See mscale.")
    attention_factor: PositiveFloat | None = Field(
        default=None,
        description="Factor for queries and keys, instead of the one that follows from `factor`.",
    )
    truncate: bool = Field(
        default=True,
        description="Round both limits between frequencies outwards to whole pairs.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.beta_slow >= self.beta_fast:
            raise ValueError(f"beta_slow {self.beta_slow:g} must be below beta_fast {self.beta_fast:g}")
        if (self.mscale is None) != (self.mscale_all_dim is None):
            raise ValueError("mscale and mscale_all_dim have an effect together only: give both or neither")
        if self.mscale is not None and self.attention_factor is not None:
            raise ValueError("attention_factor is given, so that mscale and mscale_all_dim have no effect")
        return self

    @property
    def attention_scale(self) -> float:
        """The factor of queries and of keys (equation 22; with mscale as in DeepSeek-V2's code)."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale is None or self.mscale_all_dim is None:
            return self.magnitude(1.0)
        return self.magnitude(self.mscale) / self.magnitude(self.mscale_all_dim)

    def magnitude(self, mscale: float) -> float:
        """Return 0.1 mscale ln(factor) + 1."""
        return 0.1 * mscale * log(self.factor) + 1.0


KINDS: Mapping[str, type[Llama3] | type[Yarn]] = {"llama3": Llama3, "yarn": Yarn}
_of_kind = by_tag("rope_scaling", "type", lambda: KINDS, KINDS.__getitem__)
RopeScaling = Annotated[
    Llama3 | Yarn | None,
    PlainValidator(lambda value: None if value is None else _of_kind(value)),
    SerializeAsAny(),  # pyright: ignore[reportCallIssue]
]
