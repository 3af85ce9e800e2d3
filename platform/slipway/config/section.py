"""What every section of the configuration is."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A frozen section of the configuration that refuses unknown keys, and true or false for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Python, and pydantic with it, takes true for the number 1."""
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items):
            kinds = _types(cls.model_fields[str(info.field_name)].annotation)
            if bool not in kinds and kinds & {int, float}:
                raise ValueError("must be a number, not true or false")
        return value


def _types(annotation: Any) -> set[Any]:
    """All types that an annotation is made of."""
    return (
        {annotation}
        if isinstance(annotation, type) and not get_args(annotation)
        else set().union(*map(_types, get_args(annotation)))
    )
