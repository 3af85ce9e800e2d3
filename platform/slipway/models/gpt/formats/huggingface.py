"""The class of transformers that matches a GPT, and the GPT that a folder of transformers holds."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.formats.architecture import Architecture
from slipway.models.gpt.formats.deepseek_v3 import DeepseekV3
from slipway.models.gpt.formats.given import Given
from slipway.models.gpt.formats.gpt2 import GPT2
from slipway.models.gpt.formats.gpt_neox import GPTNeoX
from slipway.models.gpt.formats.llama import Llama
from slipway.models.gpt.formats.mixtral import Mixtral
from slipway.models.gpt.formats.qwen3 import Qwen3
from slipway.models.gpt.formats.qwen3_moe import Qwen3Moe
from slipway.models.gpt.formats.starcoder2 import Starcoder2

_GPT2, _NEOX, _STARCODER2, _LLAMA, _MIXTRAL = GPT2(), GPTNeoX(), Starcoder2(), Llama(), Mixtral()
_QWEN3, _QWEN3_MOE, _DEEPSEEK = Qwen3(), Qwen3Moe(), DeepseekV3()
ARCHITECTURES: tuple[Architecture, ...] = (
    _GPT2,
    _NEOX,
    _STARCODER2,
    _LLAMA,
    _MIXTRAL,
    _QWEN3,
    _QWEN3_MOE,
    _DEEPSEEK,
)


class HuggingFace:
    """Folders of transformers: see slipway.models.formats.FolderFormat. architecture: of a folder; None: by model."""

    library = "transformers"

    def __init__(self, architecture: Architecture | None = None) -> None:
        self.architecture = architecture

    def of(self, settings: Mapping[str, Any]) -> "HuggingFace":
        """Return the format of a folder with this config.json. Raises UserError for an unknown class."""
        return HuggingFace(_named(settings))

    def check(self, config: RunConfig) -> None:
        """Raise UserError if no class of transformers computes the same."""
        model = gpt_of(config)
        trouble = self._architecture(model).trouble(model)
        if trouble is not None:
            raise trouble

    def parts(self, config: RunConfig) -> Iterable[Part]:
        """Return all tensors of a checkpoint."""
        model = gpt_of(config)
        return self._architecture(model).parts(model)

    def settings(self, config: RunConfig, end_of_document: int | None) -> Mapping[str, Any]:
        """Return config.json. Raises UserError if no class computes the same."""
        self.check(config)
        model = gpt_of(config)
        architecture = self._architecture(model)
        dtype = {"fp32": "float32", "bf16": "bfloat16"}[config.training.precision]
        return {
            "architectures": [architecture.name],
            "model_type": architecture.model_type,
            "vocab_size": model.vocab_size,
            **architecture.settings(model),
            "tie_word_embeddings": not model.untie_embeddings_and_output_weights,
            "initializer_range": model.init_method_std,
            "bos_token_id": None,  # no class's own default, which is a token of its own tokenizer
            "eos_token_id": end_of_document,
            "pad_token_id": None,
            "use_cache": True,
            "dtype": dtype,
            "torch_dtype": dtype,  # what transformers before 4.56 reads
        }

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return config.json reduced to what a folder with tensors of these names really holds.

        Raises UserError for an unknown class. See FolderFormat.held.
        """
        return _named(settings).held(settings, names)

    def fields(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the section `model` that a config.json describes. Raises UserError for what is not computed here."""
        architecture = _named(settings)
        given = Given(settings, architecture.name)
        found = architecture.fields(given)
        given.finish()
        return {"family": "gpt", "name": architecture.model_type, **found}

    def renamed(self, name: str) -> str:
        """Return a tensor's full name: files of a bare model, without output layer, lack the prefix of all names."""
        assert self.architecture is not None
        prefix = self.architecture.prefix
        return name if name == self.architecture.head or name.startswith(prefix) else prefix + name

    def left_out(self, config: RunConfig, name: str) -> str | None:
        """Return the tensor that this one must equal; "": it follows from the configuration; None: it is needed."""
        model = gpt_of(config)
        return self._architecture(model).left_out(model, name)

    def usage(self, config: RunConfig, folder: str) -> str:
        """Return how to load an exported folder in transformers."""
        depths, layers = gpt_of(config).mtp_num_layers, gpt_of(config).num_layers
        said = f"\n# it leaves out model.layers.{layers} and what follows: prediction of further tokens"
        ahead = said if depths else ""
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}"){ahead}'
        )

    def _architecture(self, model: Config) -> Architecture:
        return self.architecture or _for(model)


def _for(model: Config) -> Architecture:
    """Return the class that computes the same as a model, or the nearest one."""
    if model.multi_latent_attention:
        return _DEEPSEEK
    if model.num_moe_experts:
        return _QWEN3_MOE if model.qk_layernorm else _MIXTRAL
    if model.position_embedding_type == "learned_absolute":
        return _GPT2
    if model.normalization == "LayerNorm":
        return _STARCODER2 if _NEOX.trouble(model) else _NEOX
    return _QWEN3 if model.qk_layernorm else _LLAMA


def _named(settings: Mapping[str, Any]) -> Architecture:
    """Return the architecture that a config.json names. Raises UserError if it is unknown."""
    names = settings.get("architectures")
    found = [a for a in ARCHITECTURES if names == [a.name]]
    if not found:
        raise UserError(
            "config.json architectures",
            "is not supported" if names else "is missing",
            value=", ".join(map(str, names)) if isinstance(names, list) else names,
            use=", ".join(a.name for a in ARCHITECTURES),
        )
    if settings.get("model_type", found[0].model_type) != found[0].model_type:
        raise UserError(
            "config.json model_type",
            f"does not fit {found[0].name}",
            value=settings["model_type"],
            use=found[0].model_type,
        )
    return found[0]
