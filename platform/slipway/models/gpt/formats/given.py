"""A config.json as it is read: the reader asks for each setting, and settings that it never asked for are refused."""

from collections.abc import Mapping
from typing import Any

from slipway.errors import UserError

NUMBER = (int, float)

# Settings that transformers writes, or once wrote, into every config.json, and that do not change what a model
# computes: types and places of weights, outputs besides logits, how text is generated, heads of other tasks.
WITHOUT_EFFECT = frozenset(
    {
        *("architectures", "model_type", "transformers_version", "_name_or_path", "dtype", "torch_dtype"),
        *(
            "use_cache",
            "use_bfloat16",
            "torchscript",
            "tf_legacy_loss",
            "return_dict",
            "return_dict_in_generate",
        ),
        *("output_attentions", "output_hidden_states", "output_scores", "output_router_logits"),
        *(
            "attn_implementation",
            "_attn_implementation",
            "_attn_implementation_autoset",
            "chunk_size_feed_forward",
        ),
        *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "prefix"),
        *(
            "forced_bos_token_id",
            "forced_eos_token_id",
            "begin_suppress_tokens",
            "suppress_tokens",
            "bad_words_ids",
        ),
        *("do_sample", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
        *("num_beams", "num_beam_groups", "num_return_sequences", "diversity_penalty", "early_stopping"),
        *(
            "max_length",
            "min_length",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "remove_invalid_values",
        ),
        *("exponential_decay_length_penalty", "task_specific_params", "tokenizer_class", "finetuning_task"),
        *("id2label", "label2id", "num_labels", "problem_type", "classifier_dropout"),
    }
)
# Settings that, with any value but these, say that the weights or the code are not the class's own.
PLAIN: dict[str, tuple[tuple[Any, ...], str]] = {
    "quantization_config": ((None,), "its weights are quantized; take the folder that is not"),
    "auto_map": ((None,), "it brings code of its own, which may compute anything"),
    "is_encoder_decoder": ((False,), "it has an encoder"),
    "add_cross_attention": ((False,), "it attends to an encoder"),
    "is_decoder": ((True, False), "it is no decoder"),
    "cross_attention_hidden_size": ((None,), "it attends to an encoder"),
    "pruned_heads": (({}, None), "some of its heads are gone"),
    "tie_encoder_decoder": ((False,), "it has an encoder"),
}


class Given:
    """The settings of one architecture."""

    def __init__(self, settings: Mapping[str, Any], name: str) -> None:
        self.settings, self.name = settings, name
        self.asked: set[str] = set()

    def value(self, key: str, default: Any, *kinds: type) -> Any:
        """Return a setting, or the class's own default if it is missing. Raises UserError for another type."""
        self.asked.add(key)
        value = self.settings.get(key, default)
        right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
        if (
            value is not None
            and not right
            or value is None
            and default is not None
            and type(None) not in kinds
        ):
            raise self.error(key, "is not a value that it can have")
        return value

    def size(self, key: str, default: int | None, *, optional: bool = False) -> Any:
        """Return a positive integer; None only if it is optional. Raises UserError for other values."""
        value = self.value(key, default, int, *([type(None)] if optional else []))
        if value is not None and value < 1:
            raise self.error(key, "is not positive")
        return value

    def renamed(self, key: str, other: str) -> str:
        """Return which of two names a setting has. Raises UserError if both are present and disagree."""
        self.asked |= {key, other}
        if key in self.settings and other in self.settings and self.settings[key] != self.settings[other]:
            raise self.error(other, f"disagrees with {key} {_json(self.settings[key])}, which is the same")
        return other if other in self.settings else key

    def number(self, key: str, default: float) -> float:
        """Return a setting as a float. Raises UserError for other types."""
        return float(self.value(key, default, *NUMBER))

    def choice(self, key: str, default: Any, known: Mapping[Any, Any]) -> Any:
        """Return our value for a setting's value, by a table of known ones. Raises UserError for an unknown value."""
        value = self.value(key, default, object)
        if isinstance(value, dict | list) or value not in known:
            raise self.error(key, "is not computed here", use=" or ".join(dict.fromkeys(map(_json, known))))
        return known[value]

    def must(self, key: str, default: Any, wanted: Any, why: str) -> None:
        """Raise UserError unless a setting has the only value that is computed here. why: what another would mean."""
        self.asked.add(key)
        if self.settings.get(key, default) != wanted:
            raise self.error(key, f"{why}, which is not computed here", use=_json(wanted), default=default)

    def finish(self) -> None:
        """Raise UserError for the first setting that was never asked for and might change the function."""
        for key, (values, why) in PLAIN.items():
            if key in self.settings and self.settings[key] not in values:
                raise self.error(key, f"says that {why}")
        for key in self.settings:
            if key not in self.asked and key not in WITHOUT_EFFECT and key not in PLAIN:
                raise self.error(
                    key,
                    f"is not a setting of {self.name} that is known here: it might change what the model computes",
                    do="remove it from config.json if it changes nothing",
                )

    def error(self, key: str, problem: str, default: Any = None, **remedy: str) -> UserError:
        """Return the error for one setting. default: the value that a missing setting means."""
        there = key in self.settings
        value = self.settings[key] if there else default
        return UserError(
            f"config.json {key}", problem if there else f"(left out) {problem}", value=_json(value), **remedy
        )


def _json(value: Any) -> str:
    import json

    return json.dumps(value)
