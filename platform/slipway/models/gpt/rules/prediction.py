"""Rules for multi-token prediction."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.models.gpt.config import Config, gpt_of

FIELD = "model.mtp_num_layers"


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    model = gpt_of(config)
    depths = model.mtp_num_layers
    if depths is None:
        _check_factor(model)
        return
    length = tokens_of(config).sequence_length
    if depths > model.num_layers:
        raise UserError(
            FIELD,
            f"is more than model.num_layers {model.num_layers}: {depths} layers would predict further ahead than "
            f"{model.num_layers} have computed",
            value=depths,
            use=f"at most {model.num_layers}",
        )
    if depths >= length:
        raise UserError(
            FIELD,
            f"leaves its last depth no target: of data.sequence_length {length} tokens none has {depths} behind its "
            "label",
            value=depths,
            use=f"at most {length - 1}",
        )
    _check_others(config, depths)


def _check_factor(model: Config) -> None:
    factor = model.mtp_loss_scaling_factor
    if factor != Config.model_fields["mtp_loss_scaling_factor"].default:
        raise UserError(
            "model.mtp_loss_scaling_factor",
            "has no effect without model.mtp_num_layers: no loss is scaled by it",
            value=factor,
            do=f"set {FIELD}, or omit it",
        )


def _check_others(config: RunConfig, depths: int) -> None:
    """Raise UserError for settings that prediction does not support."""
    model, layout, training = gpt_of(config), config.parallelism, config.training
    why_not = {
        "model.position_embedding_type": (
            model.position_embedding_type,
            model.position_embedding_type == "learned_absolute",
            "the embedding's copy on the last stage has no positions",
        ),
        "training.fp8": (
            training.fp8,
            bool(training.fp8),
            "its products have only been shown in fp32 and bf16",
        ),
        "parallelism.cuda_graph_impl": (
            layout.cuda_graph_impl,
            layout.cuda_graph_impl == "local",
            "its layers are not among those that are recorded",
        ),
        "parallelism.tp_comm_overlap": (
            layout.tp_comm_overlap,
            bool(layout.tp_comm_overlap),
            "its projection has no buffer of its own",
        ),
    }
    for path, (value, bad, why) in why_not.items():
        if bad:
            raise UserError(
                FIELD, f"does not work with {path}={str(value).lower()}: {why}", value=depths, use="null"
            )
