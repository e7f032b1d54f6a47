"""Tokens that read other tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float


class CrossAttention(nn.Module):
    """Tokens read others, and are moved by what they read times a gain.

        t' = t + g ⊙ u,    u = A + W₂ gelu(W₁ norm(A)),    A = attention(norm(t), norm(m))

    With a small gain at first, t' is t at first: prompts conditioned on what is seen start as
    plain prompts. With the gain 1 it aligns one crop's tokens with another's.

    Args:
        dim: Width of all tokens.
        heads: Divides the width.
        gain: g at the start, one trained number for each column.

    Raises:
        ConventionError: The heads do not divide the width.

    Example:
        >>> block = CrossAttention(8, 2, gain=0.1)
        >>> block(torch.randn(3, 5, 8), torch.randn(3, 7, 8)).shape
        torch.Size([3, 5, 8])

    Source: Ni et al. 2022 (X-CLIP), video-specific prompting, gain 0.1; Jiang et al. 2023 (Alice),
    conditional alignment.
    """

    def __init__(self, dim: int, heads: int = 4, *, gain: float = 1.0) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.norm, self.norm_read = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.feed = feed_forward(dim)
        self.gain = nn.Parameter(torch.full((dim,), gain))

    def forward(
        self, tokens: Float[Tensor, "batch n d"], read: Float[Tensor, "batch m d"]
    ) -> Float[Tensor, "batch n d"]:
        """The moved tokens.

        Args:
            tokens: Shape (batch, n, dim).
            read: What they read, shape (batch, m, dim); its order does not matter.
        """
        m = self.norm_read(read)
        found: Tensor = self.attention(self.norm(tokens), m, m, need_weights=False)[0]
        moved: Tensor = tokens + self.gain * (found + self.feed(found))
        return moved


def feed_forward(dim: int) -> nn.Sequential:
    """W₂ gelu(W₁ norm(x)), the hidden layer four times as wide."""
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
    )


def check_heads(dim: int, heads: int) -> None:
    """Refuse heads that do not divide the width."""
    if heads < 1 or dim < 1 or dim % heads:
        raise ConventionError(
            expected="heads that divide the width", got=f"dim={dim}, heads={heads}",
            argument="heads", advice="Columns are split evenly among heads.",
        )  # fmt: skip
