"""Names and shapes of terratorch's Prithvi (1.2.11, prithvi_mae.py: PrithviMAE), whose layers are timm's blocks."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.formats import Constant, Format, Part, Shape, by_kind, same
from slipway.models.mae.config import Config, mae_of
from slipway.models.transformer.block import Block

EPSILON = 1e-5  # the default of torch.nn.LayerNorm, which terratorch's models use unchanged
_METADATA = {"time": "temporal_embed", "location": "location_embed"}


class Terratorch:
    """A flat dictionary of the whole model, from which terratorch's backbones take the encoder."""

    library = "terratorch"

    def check(self, config: RunConfig) -> None:
        """Raise UserError for what terratorch's Prithvi computes differently."""
        model = mae_of(config)
        if model.norm_epsilon != EPSILON:
            raise UserError(
                "model.norm_epsilon",
                "is not terratorch's, which has no field for it: features would differ",
                value=model.norm_epsilon,
                use=f"{EPSILON:g}",
            )
        if model.mlp_size * model.decoder_hidden_size != model.decoder_mlp_size * model.hidden_size:
            raise UserError(
                "model.decoder_ffn_hidden_size",
                f"is not {model.mlp_size} / {model.hidden_size} of decoder_hidden_size {model.decoder_hidden_size}, "
                "and terratorch has one mlp_ratio for encoder and decoder",
                value=model.decoder_mlp_size,
                do="choose a model with one ratio for both",
            )
        if model.patch_frames > 1 and "time" in model.metadata:
            raise UserError(
                "model.patch_frames",
                "with dates in model.metadata is refused by terratorch",
                value=model.patch_frames,
                use="1",
            )

    def parts(self, config: RunConfig) -> Iterator[Part]:
        """Yield the parts of the encoder, then those of the decoder."""
        model = mae_of(config)
        width, narrow, patch = model.hidden_size, model.decoder_hidden_size, model.patch_values
        kernel = (model.patch_frames, model.patch_size, model.patch_size)

        yield same("cls_token", (), (width,), "encoder.cls_token", (1, 1, width))
        conv = (width, model.num_bands, *kernel)
        yield same("patch_embedding.weight", (), (width, patch), "encoder.patch_embed.proj.weight", conv)
        yield same("patch_embedding.bias", (), (width,), "encoder.patch_embed.proj.bias")
        for name in model.metadata:
            yield same(f"{name}_scale", (), (1,), f"encoder.{_METADATA[name]}_enc.scale")
        yield from _layers("encoder", "encoder.blocks", model.num_layers, model.encoder_block)
        yield from _affine("encoder.final_layernorm", (), "encoder.norm", (width,))

        yield from _affine("decoder_embedding", (), "decoder.decoder_embed", (narrow, width))
        yield same("mask_token", (), (narrow,), "decoder.mask_token", (1, 1, narrow))
        for name in model.metadata:
            yield same(f"decoder_{name}_scale", (), (1,), f"decoder.{_METADATA[name]}_dec.scale")
        yield from _layers("decoder", "decoder.decoder_blocks", model.decoder_num_layers, model.decoder_block)
        yield from _affine("decoder.final_layernorm", (), "decoder.decoder_norm", (narrow,))
        yield from _affine("prediction", (), "decoder.decoder_pred", (patch, narrow))

    def constants(self, config: RunConfig) -> Mapping[str, Constant]:
        """Return the positions: zero for the class token, then those of the patches."""
        model = mae_of(config)

        def positions(width: int) -> Constant:
            def values() -> Any:
                import torch

                from slipway.models.mae import positions

                return torch.cat([torch.zeros(1, width), positions.of_patches(model.grid, width)])

            return Constant((1, 1 + model.num_patches, width), values)

        return {
            "encoder.pos_embed": positions(model.hidden_size),
            "decoder.decoder_pos_embed": positions(model.decoder_hidden_size),
        }

    def renamed(self, name: str) -> str:
        """Return a tensor's name in the tables.

        Prithvi 1.0 has no prefixes `encoder.` and `decoder.`; names in some files contain timm's wrapper.
        """
        name = name.replace("_timm_module.", "")
        if name.startswith(("encoder.", "decoder.")):
            return name
        of_decoder = name.startswith("decoder_") or "_dec." in name or name == "mask_token"
        return f"{'decoder' if of_decoder else 'encoder'}.{name}"

    def sizes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Any]:
        """Return all sizes except image_size, num_frames and the numbers of heads, which weights do not depend on."""
        found: dict[str, Any] = {}
        conv = shapes.get("encoder.patch_embed.proj.weight", ())
        if len(conv) == 5:
            found |= {"hidden_size": conv[0], "num_bands": conv[1]}
            found |= {"patch_frames": conv[2], "patch_size": conv[3]}
        for part, blocks in (("", "encoder.blocks"), ("decoder_", "decoder.decoder_blocks")):
            numbers = [int(m[1]) for m in map(re.compile(rf"{blocks}\.(\d+)\.").match, shapes) if m]
            if numbers:
                found[f"{part}num_layers"] = 1 + max(numbers)
            mlp = shapes.get(f"{blocks}.0.mlp.fc1.weight", ())
            if len(mlp) == 2:
                found |= {f"{part}hidden_size": mlp[1], f"{part}ffn_hidden_size": mlp[0]}
        if shapes:
            found["metadata"] = tuple(n for n, m in _METADATA.items() if f"encoder.{m}_enc.scale" in shapes)
        return found

    def unknown(self, config: RunConfig) -> str:
        """Return the fields that no file gives: heads change no shape, and positions are computed."""
        names = ("num_attention_heads", "decoder_num_attention_heads", "image_size", "num_frames")
        return ", ".join(f"{name}={getattr(config.model, name)}" for name in names)

    def usage(self, config: RunConfig, file: str) -> str:
        """Return how to build the encoder as a backbone, with every size named."""
        model = mae_of(config)
        name = "prithvi_eo_v2_300_tl" if model.metadata else "prithvi_eo_v2_300"
        sizes = ", ".join(f"{key}={value!r}" for key, value in backbone(model).items())
        return (
            "from terratorch.registry import BACKBONE_REGISTRY\n"
            f'BACKBONE_REGISTRY.build("{name}", pretrained=True, ckpt_path="{file}",\n    {sizes})'
        )


FORMATS: dict[str, Format] = {"terratorch": Terratorch()}


def backbone(model: Config) -> dict[str, Any]:
    """Return the arguments of terratorch's PrithviViT that make this encoder."""
    sizes: dict[str, Any] = {
        "img_size": model.image_size,
        "num_frames": model.num_frames,
        "patch_size": [model.patch_frames, model.patch_size, model.patch_size],
        "embed_dim": model.hidden_size,
        "depth": model.num_layers,
        "num_heads": model.num_attention_heads,
        "mlp_ratio": model.mlp_size / model.hidden_size,
    }
    if model.metadata:
        sizes |= {"coords_encoding": list(model.metadata), "coords_scale_learn": True}
    return sizes


def whole(model: Config) -> dict[str, Any]:
    """Return the arguments of terratorch's PrithviMAE that make this model."""
    return backbone(model) | {
        "decoder_embed_dim": model.decoder_hidden_size,
        "decoder_depth": model.decoder_num_layers,
        "decoder_num_heads": model.decoder_num_attention_heads,
        "mask_ratio": model.mask_ratio,
        "norm_pix_loss": model.normalize_patches,
    }


def _layers(ours: str, theirs: str, number: int, block: Block) -> Iterator[Part]:
    """Yield the parts of layers of Megatron-core's TransformerBlock as timm's."""
    width, mlp, heads = block.hidden_size, block.mlp_size, block.num_attention_heads
    for layer in range(number):
        at, there = (layer,), f"{theirs}.{layer}"
        yield from _affine(f"{ours}.layers.input_layernorm", at, f"{there}.norm1", (width,))
        for kind, rest in (("weight", (width,)), ("bias", ())):
            qkv = f"{ours}.layers.self_attention.linear_qkv.{kind}"
            yield by_kind(qkv, at, (3 * width, *rest), f"{there}.attn.qkv.{kind}", heads)
        yield from _affine(
            f"{ours}.layers.self_attention.linear_proj", at, f"{there}.attn.proj", (width, width)
        )
        yield from _affine(f"{ours}.layers.pre_mlp_layernorm", at, f"{there}.norm2", (width,))
        yield from _affine(f"{ours}.layers.mlp.linear_fc1", at, f"{there}.mlp.fc1", (mlp, width))
        yield from _affine(f"{ours}.layers.mlp.linear_fc2", at, f"{there}.mlp.fc2", (width, mlp))


def _affine(ours: str, at: tuple[int, ...], theirs: str, weight: Shape) -> Iterator[Part]:
    """Yield the parts of a weight and a bias that are the same in both."""
    yield same(f"{ours}.weight", at, weight, f"{theirs}.weight")
    yield same(f"{ours}.bias", at, weight[:1], f"{theirs}.bias")
