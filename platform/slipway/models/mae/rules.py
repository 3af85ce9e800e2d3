"""The rules of a masked auto-encoder for the sections around it; each broken rule is one line with its arithmetic."""

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.kernels.fp8 import Size, check_sizes
from slipway.models.divisible import check_divisible
from slipway.models.mae.config import mae_of
from slipway.models.mae.share import decoder_share, encoder_share
from slipway.models.transformer import recompute
from slipway.models.transformer.share import Share

ENCODED = 16
"""Positions are encoded by 6/16 sines and cosines of the column, 6/16 of the row, 4/16 of the time."""
ROUNDED = 10_000
"""Proposed values have four decimals."""


def check(config: RunConfig) -> None:
    """Raise UserError for the first setting that this family does not support."""
    for division in _divisions(config):
        check_divisible(*division)
    _check_mask(config)
    _check_metadata(config)
    _check_layout(config)
    if config.training.fp8:
        encoder, decoder = (of(config, config.parallelism) for of in (encoder_share, decoder_share))
        check_sizes(config, [*_sizes(encoder, ""), *_sizes(decoder, "decoder_")])
    recompute.modules(config, [mae_of(config).encoder_block])


def _divisions(config: RunConfig) -> Iterator[tuple[str, str, int, str, int]]:
    """Yield numbers that must be multiples of others: field, meaning, value; the divisor's name and value."""
    model, layout = mae_of(config), config.parallelism
    yield "model.image_size", "image size", model.image_size, "patch_size", model.patch_size
    yield "model.num_frames", "number of dates", model.num_frames, "patch_frames", model.patch_frames
    stacks = {"": (model.encoder_block, ""), "decoder_": (model.decoder_block, "the decoder's ")}
    for part, (block, whose) in stacks.items():
        width, heads = block.hidden_size, block.num_attention_heads
        field, what = f"model.{part}hidden_size", f"{whose}hidden size"
        yield field, what, width, f"{part}num_attention_heads", heads
        yield field, what, width, "the parts of an encoded position,", ENCODED
        by, ranks = "parallelism.tensor_model_parallel_size", layout.tensor_model_parallel_size
        yield f"model.{part}num_attention_heads", f"{whose}attention heads", heads, by, ranks
        yield f"model.{part}ffn_hidden_size", f"{whose}MLP width", block.mlp_size, by, ranks


def _check_mask(config: RunConfig) -> None:
    model = mae_of(config)
    patches, visible = model.num_patches, model.num_visible
    if 0 < visible < patches:
        return
    none = "visible" if visible == 0 else "hidden"
    share = -(-ROUNDED // patches) / ROUNDED  # one patch's share, rounded up
    use = f"at most {1 - share:g}" if visible == 0 else f"at least {share:g}"
    raise UserError(
        "model.mask_ratio",
        f"leaves no patch {none}: int({patches} x (1 - {model.mask_ratio})) = {visible} of {patches} are visible",
        value=model.mask_ratio,
        use=use if patches > 1 else "",
        do="" if patches > 1 else "set a smaller model.patch_size: a sample has one patch",
    )


def _check_metadata(config: RunConfig) -> None:
    model = mae_of(config)
    once = list(dict.fromkeys(model.metadata))
    if len(once) < len(model.metadata):
        given = f"[{','.join(model.metadata)}]"
        raise UserError("model.metadata", "lists an entry twice", value=given, use=f"[{','.join(once)}]")
    if model.metadata_drop and not model.metadata:
        raise UserError(
            "model.metadata_drop",
            "has no effect, since model.metadata is empty",
            value=model.metadata_drop,
            use="0, or model.metadata=[time,location]",
        )
    if "time" in model.metadata and model.patch_frames > 1:
        raise UserError(
            "model.patch_frames",
            "does not work with time in model.metadata: a patch of several dates has no single date",
            value=model.patch_frames,
            use="1",
        )


def _check_layout(config: RunConfig) -> None:
    layout = config.parallelism
    for name, why in (
        ("context_parallel_size", "the encoder's few visible patches are not shared out over ranks"),
        ("expert_model_parallel_size", "its layers have no experts"),
    ):
        size = getattr(layout, name)
        if size > 1:
            raise UserError(
                f"parallelism.{name}", f"is not supported by model.family=mae: {why}", value=size, use="1"
            )
    if layout.tp_comm_overlap:
        raise UserError(
            "parallelism.tp_comm_overlap",
            f"is not supported by model.family=mae: user buffers have one size, and the encoder's samples have "
            f"{encoder_share(config, layout).length} tokens, the decoder's {decoder_share(config, layout).length}",
            value=True,
            use="null",
        )
    if layout.cuda_graph_impl == "local":
        raise UserError(
            "parallelism.cuda_graph_impl",
            "is not supported by model.family=mae: it has not been tested with two stacks of layers",
            value="local",
            use="null",
        )


def _sizes(share: Share, part: str) -> list[Size]:
    """Return the sizes of the linear layers in a stack on one rank, and the tokens that gradients sum over."""
    block, tp = share.block, share.tp
    what, by_tensor = part.replace("_", "'s "), f" / tensor {tp}" if tp > 1 else ""
    tokens = f"{what}tokens of a microbatch {share.length} x {share.samples}"
    return [
        Size(f"model.{part}hidden_size", f"{what}hidden size", block.hidden_size),
        Size(f"model.{part}num_attention_heads", f"{what}query channels{by_tensor}", block.width // tp),
        Size(
            f"model.{part}ffn_hidden_size",
            f"{what}MLP width {block.mlp_size}{by_tensor}",
            block.mlp_size // tp,
        ),
        Size(
            "training.micro_batch_size",
            tokens + (by_tensor if share.outside > 1 else ""),
            share.tokens // share.outside,
        ),
    ]


def check_chips(config: RunConfig, traits: Mapping[str, Any]) -> None:
    """Raise UserError if prepared samples do not fit what the model reads. traits: frames, bands, size."""
    model, bands = mae_of(config), traits["bands"]
    for field, ours, theirs, what in (
        ("num_frames", model.num_frames, traits["frames"], "dates"),
        ("num_bands", model.num_bands, len(bands), f"bands ({', '.join(bands)})"),
        ("image_size", model.image_size, traits["size"], "pixels in height and width"),
    ):
        if ours != theirs:
            raise UserError(
                f"model.{field}", f"differs from the samples' {theirs} {what}", value=ours, use=str(theirs)
            )
