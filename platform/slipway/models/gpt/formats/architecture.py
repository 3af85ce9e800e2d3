"""The interface of an architecture: one of transformers' classes, compared with the fields of `model`."""

from collections.abc import Collection, Iterator, Mapping
from re import Pattern
from typing import Any, Protocol

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats.given import Given


class Architecture(Protocol):
    """A class of transformers that computes what some models of this family compute."""

    name: str
    """The class, as `architectures` in config.json names it."""
    model_type: str
    prefix: str
    """The prefix of the names of all tensors except the output layer's; files of the bare model lack it."""
    embedding: str
    head: str
    """Names of the embedding's table and of the output layer's."""
    computed: Pattern[str]
    """Names of tensors that older files hold although they follow from the configuration."""

    def trouble(self, model: Config) -> UserError | None:
        """Return why it computes something else than this model, and the nearest change; None: it computes the same."""
        ...

    def parts(self, model: Config) -> Iterator[Part]:
        """Yield all tensors, in the order of the layers."""
        ...

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings of this model in config.json, without those that all architectures share."""
        ...

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields of `model` that a config.json gives, without those that all architectures share.

        Raises UserError for a setting that changes the function and has no field.
        """
        ...

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return config.json reduced to what a folder with tensors of these names really holds.

        See FolderFormat.held.
        """
        ...

    def left_out(self, model: Config, name: str) -> str | None:
        """Return the tensor that this one must equal; "": not needed; None: needed. See FolderFormat.left_out."""
        ...


class Class:
    """The methods that most architectures share."""

    embedding: str
    head: str
    computed: Pattern[str]

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return all of config.json."""
        return settings

    def left_out(self, model: Config, name: str) -> str | None:
        """Return the embedding for a tied output layer, "" for masks and rotary frequencies, which are computed."""
        if name == self.head and not model.untie_embeddings_and_output_weights:
            return self.embedding
        return "" if self.computed.fullmatch(name) else None


# Fields for which most classes have no setting; a class that has one says so itself.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "qk_layernorm": (False,),
    "add_qkv_bias": (False,),
    "window_size": (None,),
    "multi_latent_attention": (False,),
    "first_k_dense_replace": (0,),
    "moe_shared_expert_intermediate_size": (None,),
    "moe_router_score_function": ("softmax",),
    "moe_router_pre_softmax": (False,),
    "moe_router_topk_scaling_factor": (None,),
    "moe_router_num_groups": (None,),
    "moe_router_enable_expert_bias": (False,),
    "mtp_num_layers": (None,),
}


def unfit(name: str, model: Config, wanted: Mapping[str, tuple[Any, ...]], do: str = "") -> UserError | None:
    """Return the error for the first field whose value this architecture cannot have; None: all fit.

    wanted: the allowed values of fields; fields that it does not name must have their plain values.
    """
    for field, values in {**wanted, **{f: v for f, v in _PLAIN.items() if f not in wanted}}.items():
        value = getattr(model, field)
        if value not in values:
            return UserError(
                f"model.{field}",
                f"is not what {name} computes, and no other class of transformers does with these fields",
                value=value,
                use=" or ".join(map(_word, values)),
                do=do,
            )
    return None


def _word(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def unfit_heads(name: str, model: Config) -> UserError | None:
    """Return the error if all heads together are not as wide as the hidden state, for a class that requires it."""
    if model.head_size * model.num_attention_heads == model.hidden_size:
        return None
    return UserError(
        "model.kv_channels",
        f"is not hidden_size {model.hidden_size} / num_attention_heads {model.num_attention_heads}, the only size of "
        f"heads that {name} has",
        value=model.head_size,
        use="null",
    )


def unfit_width(name: str, model: Config) -> UserError | None:
    """Return the error if the hidden size is not a multiple of the heads, which some classes require."""
    heads = model.num_attention_heads
    if model.hidden_size % heads == 0:
        return None
    return UserError(
        "model.hidden_size",
        f"is not a multiple of num_attention_heads {heads}, which {name} requires even if head_dim is given",
        value=model.hidden_size,
        use=f"{-(-model.hidden_size // heads) * heads}",
    )
