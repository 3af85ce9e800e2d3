"""The reference of `slipway bench training`: a GPT in plain PyTorch, of the same shape, as one would write it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipway.models.gpt.config import GPTConfig


class Block(nn.Module):
    """Pre-norm attention and MLP, [b, s, h] -> [b, s, h]."""

    def __init__(self, model: GPTConfig) -> None:
        super().__init__()
        self.heads = model.num_attention_heads
        self.norm1 = nn.LayerNorm(model.hidden_size)
        self.qkv = nn.Linear(model.hidden_size, 3 * model.hidden_size)
        self.proj = nn.Linear(model.hidden_size, model.hidden_size)
        self.norm2 = nn.LayerNorm(model.hidden_size)
        self.fc1 = nn.Linear(model.hidden_size, model.mlp_size)
        self.fc2 = nn.Linear(model.mlp_size, model.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Attention and MLP, each added to its input."""
        batch, length, hidden = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(attended.transpose(1, 2).reshape(batch, length, hidden))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class PlainGPT(nn.Module):
    """Learned positions, tied output; forward returns the mean cross entropy in nats."""

    def __init__(self, model: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(model.padded_vocab_size, model.hidden_size)
        self.positions = nn.Embedding(model.max_position_embeddings, model.hidden_size)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.num_layers))
        self.norm = nn.LayerNorm(model.hidden_size)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=model.init_method_std)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """[b, s] int64 twice -> scalar."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
