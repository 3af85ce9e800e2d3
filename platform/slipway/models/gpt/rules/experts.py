"""Rules for mixtures of experts: their sizes, their layers and the layout. The router's rules are in `router`."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.divisible import check_divisible
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.fields.experts import Experts
from slipway.models.gpt.rules import router


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    if gpt_of(config).num_moe_experts is None:
        _check_none(config)
        return
    _check_model(config)
    router.check(config)
    _check_layout(config)


def _check_none(config: RunConfig) -> None:
    """Raise UserError if a model without experts sets one of their fields, or has ranks for them."""
    model, ep = gpt_of(config), config.parallelism.expert_model_parallel_size
    for name in Experts.model_fields:
        value, default = getattr(model, name), Config.model_fields[name].default
        if value != default:
            raise UserError(
                f"model.{name}",
                "has no effect without experts, and model.num_moe_experts is null",
                value=value,
                use="null" if default is None else str(default).lower(),
            )
    if ep > 1:
        raise UserError(
            "parallelism.expert_model_parallel_size",
            "needs a model with experts, but model.num_moe_experts is null",
            value=ep,
            do="set it to 1, or choose a model with experts",
        )


def _check_model(config: RunConfig) -> None:
    model = gpt_of(config)
    if model.add_bias_linear:
        raise UserError(
            "model.add_bias_linear",
            f"does not work with num_moe_experts {model.num_moe_experts} (Megatron-core adds experts' biases on "
            "one rank only, and fails there)",
            value=True,
            use="false",
        )
    if model.first_k_dense_replace >= model.num_layers:
        raise UserError(
            "model.first_k_dense_replace",
            f"leaves none of num_layers {model.num_layers} for num_moe_experts {model.num_moe_experts}",
            value=model.first_k_dense_replace,
            use=f"at most {model.num_layers - 1}",
        )
    shared, each = model.moe_shared_expert_intermediate_size, model.expert_size
    if shared is not None and shared % each:
        raise UserError(
            "model.moe_shared_expert_intermediate_size",
            f"is not a multiple of the experts' width {each} ({shared} = {shared // each} x {each} + {shared % each}): "
            "it is the width of all shared experts together",
            value=shared,
            use=f"{-(-shared // each) * each}",
        )


def _check_layout(config: RunConfig) -> None:
    model, layout = gpt_of(config), config.parallelism
    tp, ep = layout.tensor_model_parallel_size, layout.expert_model_parallel_size
    assert model.num_moe_experts
    check_divisible(
        "model.num_moe_experts",
        "experts",
        model.num_moe_experts,
        "parallelism.expert_model_parallel_size",
        ep,
    )
    by = "parallelism.tensor_model_parallel_size"
    if model.moe_ffn_hidden_size is not None:
        check_divisible("model.moe_ffn_hidden_size", "width of an expert", model.moe_ffn_hidden_size, by, tp)
    strategy = layout.data_parallel_sharding_strategy
    if strategy and model.moe_router_enable_expert_bias:
        raise UserError(
            "parallelism.data_parallel_sharding_strategy",
            "does not work with model.moe_router_enable_expert_bias=true: Megatron-core's FSDP stores parameters only, "
            "and the biases are not parameters",
            value=strategy,
            use="null",
        )
    if tp > 1 and not layout.sequence_parallel:
        raise UserError(
            "parallelism.sequence_parallel",
            f"does not work with experts and tensor_model_parallel_size {tp} (a rule of Megatron-core)",
            value=False,
            use="true",
        )
