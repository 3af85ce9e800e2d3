"""The reference of `slipway bench compare`: the configured model in plain PyTorch, as one would write it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipway.models.gpt.config import Config as GPTConfig


def _norm(model: GPTConfig) -> nn.Module:
    kind = nn.RMSNorm if model.normalization == "RMSNorm" else nn.LayerNorm
    return kind(model.hidden_size, eps=model.norm_epsilon)


class Block(nn.Module):
    """Pre-norm attention and MLP, [b, s, h] -> [b, s, h]."""

    def __init__(self, model: GPTConfig) -> None:
        super().__init__()
        hidden, size, bias = model.hidden_size, model.head_size, model.add_bias_linear
        self.heads, self.groups, self.size = model.num_attention_heads, model.query_groups, size
        self.gated = model.activation == "swiglu"
        self.approximate = "tanh" if model.activation == "gelu_tanh" else "none"
        self.norm1, self.norm2 = _norm(model), _norm(model)
        self.qkv = nn.Linear(hidden, (self.heads + 2 * self.groups) * size, bias)
        self.proj = nn.Linear(self.heads * size, hidden, bias)
        self.fc1 = nn.Linear(hidden, (2 if self.gated else 1) * model.mlp_size, bias)
        self.fc2 = nn.Linear(model.mlp_size, hidden, bias)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        """Return attention and MLP, each added to its input, [b, s, h] -> [b, s, h].

        turn: cosine and sine of the rotary angles, [s, d].
        """
        batch, length, _ = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, length, -1, self.size).transpose(1, 2)
        q, k, v = heads.split([self.heads, self.groups, self.groups], dim=1)
        if turn is not None:
            q, k = _turned(q, *turn), _turned(k, *turn)
        attended = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=self.heads != self.groups
        )
        x = x + self.proj(attended.transpose(1, 2).reshape(batch, length, -1))
        wide = self.fc1(self.norm2(x))
        if self.gated:
            gate, up = wide.chunk(2, dim=-1)
            return x + self.fc2(F.silu(gate) * up)
        return x + self.fc2(F.gelu(wide, approximate=self.approximate))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the rotary embedding of [b, n, s, d]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-second, first], dim=-1) * sin.to(x.dtype)


class PlainGPT(nn.Module):
    """A dense model; forward returns the mean cross entropy in nats."""

    angles: Tensor

    def __init__(self, model: GPTConfig) -> None:
        super().__init__()
        self.entries = model.vocab_size
        self.tokens = nn.Embedding(model.padded_vocab_size, model.hidden_size)
        self.rotary = model.position_embedding_type == "rope"
        if self.rotary:
            pairs = torch.arange(0, model.head_size, 2, dtype=torch.float32)
            frequencies = model.rotary_base ** -(pairs / model.head_size)
            angles = torch.arange(model.max_position_embeddings)[:, None] * frequencies
            self.register_buffer("angles", torch.cat([angles, angles], dim=-1), persistent=False)
        else:
            self.positions = nn.Embedding(model.max_position_embeddings, model.hidden_size)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.num_layers))
        self.norm = _norm(model)
        self.output = nn.Linear(model.hidden_size, model.padded_vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=model.init_method_std)
        if not model.untie_embeddings_and_output_weights:
            self.output.weight = self.tokens.weight

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy, a scalar, of tokens and labels: int64 [b, s] each."""
        x, turn, length = self.tokens(tokens), None, tokens.shape[1]
        if self.rotary:
            turn = self.angles[:length].cos(), self.angles[:length].sin()
        else:
            x = x + self.positions(torch.arange(length, device=tokens.device))
        for block in self.blocks:
            x = block(x, turn)
        logits = self.output(self.norm(x))[..., : self.entries]  # rows beyond it belong to no token
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
