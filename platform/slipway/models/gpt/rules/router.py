"""Rules for a mixture's router: how experts are chosen, and how loads are balanced."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.divisible import check_divisible
from slipway.models.gpt.config import Config, gpt_of

DEPENDS = {
    "aux_loss": "is taken over a microbatch: it depends on training.micro_batch_size",
    "global_aux_loss": "is taken over all replicas and the step so far: it depends on the data-parallel size and on "
    "training.micro_batch_size",
}
"""The reason why a balancing loss differs between layouts, for each that does."""


def notes(model: Config) -> list[str]:
    """Return what a user should know about the balancing; empty if it is the same in every layout."""
    kind = model.moe_router_load_balancing_type
    if not model.num_moe_experts or kind not in DEPENDS:
        return []
    return [f"model.moe_router_load_balancing_type={kind} {DEPENDS[kind]}; seq_aux_loss does not"]


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule of a model with experts."""
    model = gpt_of(config)
    experts, topk = model.num_moe_experts, model.moe_router_topk
    assert experts
    if topk > experts:
        raise UserError(
            "model.moe_router_topk", f"is more than num_moe_experts {experts}", value=topk, do="reduce it"
        )
    _check_scores(model)
    _check_groups(model, experts)
    _check_balance(model)


def _check_scores(model: Config) -> None:
    softmax, pre = model.moe_router_score_function == "softmax", model.moe_router_pre_softmax
    if model.moe_router_topk == 1 and softmax and not pre:
        raise UserError(
            "model.moe_router_topk",
            "with moe_router_score_function=softmax gives the one expert the weight "
            "1 whatever the router computes, so the router learns nothing (a rule of Megatron-core)",
            value=1,
            do="set model.moe_router_pre_softmax=true",
        )
    if pre and not softmax:
        raise UserError(
            "model.moe_router_pre_softmax",
            f"has no effect with moe_router_score_function={model.moe_router_score_function}",
            value=True,
            use="false",
        )


def _check_groups(model: Config, experts: int) -> None:
    groups, visited, topk = model.moe_router_num_groups, model.moe_router_group_topk, model.moe_router_topk
    if groups is None or visited is None:
        if groups != visited:
            missing = "moe_router_num_groups" if groups is None else "moe_router_group_topk"
            given = "moe_router_group_topk" if groups is None else "moe_router_num_groups"
            raise UserError(
                f"model.{given}",
                f"has no effect without model.{missing}",
                value=getattr(model, given),
                use="null",
                do="set both, or none",
            )
        return
    check_divisible("model.num_moe_experts", "experts", experts, "model.moe_router_num_groups", groups)
    if visited > groups:
        raise UserError(
            "model.moe_router_group_topk",
            f"is more than moe_router_num_groups {groups}",
            value=visited,
            do="reduce it",
        )
    held = visited * (experts // groups)
    if topk > held:
        raise UserError(
            "model.moe_router_topk",
            f"is more than moe_router_group_topk {visited} groups hold: {visited} x {experts} / {groups} = {held} "
            "experts",
            value=topk,
            use=f"at most {held}",
        )
    if topk % visited:
        raise UserError(
            "model.moe_router_topk",
            f"is not a multiple of moe_router_group_topk {visited}: a group counts as much as the sum of its best "
            f"{topk} / {visited} experts",
            value=topk,
            use=f"{-(-topk // visited) * visited}",
        )


def _check_balance(model: Config) -> None:
    kind, coefficient = model.moe_router_load_balancing_type, model.moe_aux_loss_coeff
    fields = Config.model_fields
    if kind != "none" and coefficient == 0:
        raise UserError(
            "model.moe_aux_loss_coeff",
            f"switches off moe_router_load_balancing_type={kind}",
            value=0.0,
            do="set model.moe_router_load_balancing_type=none",
        )
    if kind == "none" and coefficient not in (0, fields["moe_aux_loss_coeff"].default):
        raise UserError(
            "model.moe_aux_loss_coeff",
            "has no effect with moe_router_load_balancing_type=none",
            value=coefficient,
            use="0",
        )
    if model.moe_z_loss_coeff == 0:
        raise UserError("model.moe_z_loss_coeff", "switches the loss off", value=0.0, use="null")
    if not model.moe_router_enable_expert_bias:
        rate = model.moe_router_bias_update_rate
        if rate != fields["moe_router_bias_update_rate"].default:
            raise UserError(
                "model.moe_router_bias_update_rate",
                "has no effect without model.moe_router_enable_expert_bias=true",
                value=rate,
                use=str(fields["moe_router_bias_update_rate"].default),
            )
    elif model.moe_router_score_function != "sigmoid":
        raise UserError(
            "model.moe_router_enable_expert_bias",
            f"does not work with moe_router_score_function={model.moe_router_score_function} (a rule of "
            "Megatron-core)",
            value=True,
            use="false",
            do="set model.moe_router_score_function=sigmoid",
        )
