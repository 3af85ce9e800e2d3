"""Multi-token prediction."""

from pydantic import BaseModel, Field, PositiveInt


class Prediction(BaseModel):
    """Fields of the layers that predict tokens further ahead (DeepSeek-V3, arXiv 2412.19437, section 2.2)."""

    mtp_num_layers: PositiveInt | None = Field(
        default=None,
        description="Number of further tokens to predict after the next one, each by a layer of its own; null: "
        "none.",
    )
    mtp_loss_scaling_factor: float = Field(
        default=0.1,
        ge=0.0,
        description="Weight of the mean of their losses beside the loss of the next token.",
    )
