"""Small models of transformers with random weights, as folders, and how plain PyTorch trains them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_layers import MtpModel
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

MODEL: Any = AutoModelForCausalLM
END = "<|endoftext|>"
BIAS, BIAS_RATE = "e_score_correction_bias", 0.001
AHEAD = 0.1
"""What the losses of prediction layers weigh."""
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
YARN |= {"mscale": 1.0, "mscale_all_dim": 0.7}
SIZES: dict[str, Any] = {"vocab_size": 259, "bos_token_id": None, "eos_token_id": 256}
LIKE_LLAMA = SIZES | {"num_hidden_layers": 2, "intermediate_size": 36, "max_position_embeddings": 64}
# odd numbers of heads, grouped queries, heads that are not hidden / heads wide, a vocabulary that is padded
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "gpt2",
        SIZES
        | {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}
        | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    ),
    "gpt_neox": (
        "gpt_neox",
        LIKE_LLAMA
        | {"hidden_size": 24, "num_attention_heads": 3, "use_parallel_residual": False}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}},
    ),
    "starcoder2": (
        "starcoder2",
        LIKE_LLAMA
        | {"hidden_size": 28, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10}
        | {"initializer_range": 0.02},
    ),
    "llama": (
        "llama",
        LIKE_LLAMA
        | {"hidden_size": 36, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 8}
        | {"rope_parameters": {"rope_theta": 500.0, **LLAMA3}, "max_position_embeddings": 65536},
    ),
    "qwen3": (
        "qwen3",
        LIKE_LLAMA
        | {"hidden_size": 30, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}
        | {"tie_word_embeddings": True, "rms_norm_eps": 1e-5},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        LIKE_LLAMA
        | {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}
        | {"num_hidden_layers": 3, "mlp_only_layers": [0], "moe_intermediate_size": 16}
        | {"num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": False, "router_aux_loss_coef": 0.05},
    ),
    "deepseek_v3": (
        "deepseek_v3",
        LIKE_LLAMA
        | {"hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 3}
        | {
            "q_lora_rank": 12,
            "kv_lora_rank": 10,
            "qk_nope_head_dim": 6,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
        }
        | {"first_k_dense_replace": 1, "moe_intermediate_size": 16, "n_shared_experts": 2}
        | {"n_routed_experts": 8, "num_experts_per_tok": 4, "n_group": 4, "topk_group": 2}
        | {"tie_word_embeddings": False, "aux_loss_alpha": 0.0, "rope_parameters": YARN}
        | {"num_nextn_predict_layers": 1},
    ),
    "mixtral": (
        "mixtral",
        LIKE_LLAMA
        | {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 4}
        | {"num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.0}
        | {"intermediate_size": 48},  # torch multiplies groups whose rows are multiples of 16 bytes
    ),
}


class Settings(NamedTuple):
    """How it is trained."""

    steps: int
    lr: float
    min_lr: float
    warmup: int
    weight_decay: float
    clip: float
    eps: float


def write(name: str, folder: Path) -> None:
    """A folder with weights in which everything matters: larger matrices, norms and biases that are not 1 and 0."""
    kind, fields = MODELS[name]
    torch.manual_seed(len(name))
    model = with_prediction(MODEL.from_config(AutoConfig.for_model(kind, **fields)))
    with torch.no_grad():
        if model.ahead is not None:
            for weight in model.ahead.layers.parameters():  # which transformers leaves as memory was
                weight.normal_(std=0.02) if weight.dim() > 1 else weight.fill_(1.0)
        for weight in model.parameters():
            weight.copy_(3 * weight if weight.dim() > 1 else weight + 0.1 * torch.randn_like(weight))
        for name, buffer in model.named_buffers():
            if name.endswith(BIAS):
                buffer.copy_(0.05 * torch.randn_like(buffer))
    ahead = getattr(model, "ahead", None)
    model.ahead = None
    model.save_pretrained(folder)
    if ahead is not None:
        file = folder / "model.safetensors"
        layers = {published(model, name): one for name, one in ahead.layers.state_dict().items()}
        save_file(load_file(file) | experts_apart(layers), file, metadata={"format": "pt"})
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)} | {END: 256}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END).save_pretrained(folder)


def weights_of(model: Any) -> dict[str, Tensor]:
    """What is trained: parameters, and the routers' biases."""
    biases = {name: one for name, one in model.named_buffers() if name.endswith(BIAS)}
    return {name: one.detach() for name, one in model.named_parameters()} | biases


def model_of(folder: Path) -> Any:
    """What AutoModelForCausalLM makes of a folder; all of it, and nothing else, must come from there."""
    model, found = MODEL.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
    )
    ahead = published(model, "")
    assert not found["missing_keys"] and not found["mismatched_keys"], found
    assert all(name.startswith(ahead) for name in found["unexpected_keys"]), found
    if found["unexpected_keys"]:
        model = with_prediction(model)
        state = load_file(folder / "model.safetensors")
        held = {name: one for name, one in state.items() if name.startswith(ahead)}
        wanted = {name: published(model, name) for name in model.ahead.layers.state_dict()}
        model.ahead.layers.load_state_dict(stacked(wanted, held))
        assert not held, "each has its place"
    return model


def depths(model: Any) -> int:
    """Layers that predict further tokens, which transformers keeps for generating."""
    return getattr(model.config, "num_mtp_layers", 0)


def with_prediction(model: Any) -> Any:
    """The same with its prediction layers as `ahead`, if it has any: one."""
    model.ahead = MtpModel(model, depths(model)) if depths(model) else None
    return model


def published(model: Any, name: str) -> str:
    """What published files call a tensor of the prediction layer."""
    name = name.removeprefix("0.").replace("mtp_block.", "").replace("post_norm.", "shared_head.norm.")
    return f"model.layers.{model.config.num_hidden_layers}.{name}"


def experts_apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the names of files, in which experts have a layer each."""
    found = {}
    for name, tensor in state.items():
        place, _, kind = name.rpartition(".")
        if kind == "gate_up_proj":
            for expert, own in enumerate(tensor):
                gate, up = own.chunk(2)
                found[f"{place}.{expert}.gate_proj.weight"] = gate.contiguous()
                found[f"{place}.{expert}.up_proj.weight"] = up.contiguous()
        elif kind == "down_proj":
            found |= {f"{place}.{expert}.down_proj.weight": own.clone() for expert, own in enumerate(tensor)}
        else:
            found[name] = tensor
    return found


def stacked(names: dict[str, str], held: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse, by the names in memory; takes what it needs out of `held`."""
    found = {}
    for name, there in names.items():
        place, _, kind = there.rpartition(".")
        parts = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}.get(kind)
        if parts is None:
            found[name] = held.pop(there)
            continue
        experts = []
        while f"{place}.{len(experts)}.{parts[0]}.weight" in held:
            number = len(experts)
            experts.append(torch.cat([held.pop(f"{place}.{number}.{part}.weight") for part in parts]))
        found[name] = torch.stack(experts)
    return found


def loss_of(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The mean over all tokens that count, and the loss for even loads of experts."""
    balance = getattr(model.config, "router_aux_loss_coef", 0.0)
    more = {"output_router_logits": True} if balance else {"output_hidden_states": True}
    output = model(input_ids=batch["tokens"], **more)
    each = F.cross_entropy(output.logits.flatten(0, 1), batch["labels"].flatten(), reduction="none")
    mask = batch["loss_mask"].flatten()
    uneven = torch.zeros(())
    for logits in output.router_logits if balance else ():
        uneven = uneven + sum(_uneven(model, own) for own in logits.chunk(len(batch["tokens"])))
    beside = balance * uneven * batch["tokens"].shape[1]
    if getattr(model, "ahead", None) is not None:
        beside = beside + AHEAD * _ahead(model, output.hidden_states[-1], batch)
    # a token weighs as much as in the loss, whether it counts there or not
    return (each * mask).sum() / mask.sum(), beside / mask.sum()


def _ahead(model: Any, states: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The sum of the prediction layer's losses: from a token's state and the next token to the one after that."""
    positions = torch.arange(states.shape[1])[None]
    embedded = model.get_input_embeddings()(batch["labels"])
    states = model.ahead.forward_layer(0, states, positions, None, inputs_embeds=embedded)
    logits = model.lm_head(states)[:, :-1]
    each = F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none")
    return (each * batch["loss_mask"][:, 1:].flatten()).sum()


def _uneven(model: Any, logits: Tensor) -> Tensor:
    """transformers' loss of one layer and one sequence: it would take all of both together; 1 where loads are even."""
    chosen = model.config.num_experts_per_tok
    return load_balancing_loss_func((logits,), logits.shape[-1], chosen) / chosen


class Biases:
    """DeepSeek-V3's rule for routers' biases (arXiv 2412.19437, section 2.1.2), which transformers has not."""

    def __init__(self, model: Any, rate: float) -> None:
        self.rate, self.counts = rate, {}
        for router in model.modules():
            if hasattr(router, BIAS):
                router.register_forward_hook(self._count)

    def _count(self, router: Any, _: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
        self.counts[router] = torch.bincount(output[2].flatten(), minlength=output[0].shape[-1])

    def move(self) -> None:
        """After a step: up where an expert had less than the mean of the step's tokens, down where more."""
        for router, counts in self.counts.items():
            router.e_score_correction_bias += self.rate * torch.sign(counts.float().mean() - counts)


def train(model: Any, batches: Sequence[dict[str, Tensor]], settings: Settings) -> list[tuple[float, float]]:
    """Loss and norm of the gradients of each step; no decay of norms and biases."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=settings.eps)
    biases = Biases(model, BIAS_RATE)
    lines = []
    for step, batch in enumerate(batches, start=1):
        if step <= settings.warmup:
            rate = settings.lr * step / settings.warmup
        else:
            turned = math.pi * (step - settings.warmup) / (settings.steps - settings.warmup)
            rate = settings.min_lr + (settings.lr - settings.min_lr) * (1 + math.cos(turned)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss, balance = loss_of(model, batch)
        (loss + balance).backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        optimizer.step()
        biases.move()
        lines.append((loss.item(), norm.item()))
    return lines
