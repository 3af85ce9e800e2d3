"""The configuration of a masked auto-encoder: the fields of `conf/model/*.yaml` for the family `mae`."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import ModelSection
from slipway.models.transformer.block import Block

Metadata = Literal["time", "location"]


class Config(ModelSection):
    """Vision transformer over the visible patches of an image time series, and a small decoder over all patches."""

    family: Literal["mae"] = Field(default="mae", description="The model family.")
    image_size: PositiveInt = Field(description="Height and width of a sample, in pixels.")
    num_frames: PositiveInt = Field(description="Dates of a sample.")
    num_bands: PositiveInt = Field(description="Spectral bands of a sample.")
    patch_size: PositiveInt = Field(description="Height and width of a patch, in pixels.")
    patch_frames: PositiveInt = Field(default=1, description="Dates of a patch.")
    num_layers: PositiveInt = Field(description="Layers of the encoder.")
    hidden_size: PositiveInt = Field(description="Width of the encoder.")
    num_attention_heads: PositiveInt = Field(description="Attention heads of the encoder.")
    ffn_hidden_size: PositiveInt | None = Field(
        default=None, description="Width of the encoder's MLP; null: 4 x hidden_size."
    )
    decoder_num_layers: PositiveInt = Field(description="Layers of the decoder.")
    decoder_hidden_size: PositiveInt = Field(description="Width of the decoder.")
    decoder_num_attention_heads: PositiveInt = Field(description="Attention heads of the decoder.")
    decoder_ffn_hidden_size: PositiveInt | None = Field(
        default=None, description="Width of the decoder's MLP; null: 4 x decoder_hidden_size."
    )
    norm_epsilon: PositiveFloat = Field(
        default=1e-5, description="Epsilon added to the variance in the norms of encoder and decoder."
    )
    mask_ratio: float = Field(
        default=0.75, gt=0.0, lt=1.0, description="Share of the patches that are masked."
    )
    normalize_patches: bool = Field(
        default=False,
        description="Predict each patch minus its mean, divided by its standard deviation.",
    )
    metadata: tuple[Metadata, ...] = Field(
        default=(),
        description="Metadata encoded besides pixels: time (year, day of year), location (degrees).",
    )
    metadata_drop: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the samples that are trained without one of them, drawn independently for each.",
    )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches in time, in height and in width."""
        side = self.image_size // self.patch_size
        return self.num_frames // self.patch_frames, side, side

    @property
    def num_patches(self) -> int:
        """Patches of a sample."""
        frames, rows, columns = self.grid
        return frames * rows * columns

    @property
    def num_visible(self) -> int:
        """Patches that the encoder sees: int(patches x (1 - mask_ratio)), as in He et al."""
        return int(self.num_patches * (1 - self.mask_ratio))

    @property
    def patch_values(self) -> int:
        """Numbers in a patch."""
        return self.patch_frames * self.patch_size**2 * self.num_bands

    @property
    def mlp_size(self) -> int:
        """Width of the encoder's MLP."""
        return self.ffn_hidden_size or 4 * self.hidden_size

    @property
    def decoder_mlp_size(self) -> int:
        """Width of the decoder's MLP."""
        return self.decoder_ffn_hidden_size or 4 * self.decoder_hidden_size

    @property
    def encoder_block(self) -> Block:
        """The sizes of each layer of the encoder."""
        return _block(self.hidden_size, self.num_attention_heads, self.mlp_size, self.norm_epsilon)

    @property
    def decoder_block(self) -> Block:
        """The sizes of each layer of the decoder."""
        heads, width = self.decoder_num_attention_heads, self.decoder_mlp_size
        return _block(self.decoder_hidden_size, heads, width, self.norm_epsilon)


def _block(hidden: int, heads: int, mlp: int, epsilon: float) -> Block:
    """Return a layer as in ViT (Dosovitskiy et al. 2020, arXiv 2010.11929): LayerNorm, GELU, biases, no dropout."""
    return Block(
        hidden_size=hidden,
        num_attention_heads=heads,
        query_groups=heads,
        head_size=hidden // heads,
        mlp_size=mlp,
        causal=False,
        norm_epsilon=epsilon,
    )


def mae_of(config: RunConfig) -> Config:
    """Return the section `model` of a run that trains a masked auto-encoder."""
    assert isinstance(config.model, Config), f"model.family is {config.model.family}"
    return config.model
