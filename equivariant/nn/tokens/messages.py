"""Views whose tokens attend to one another, and exchange one message each with the other views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.tokens.attention import check_heads, feed_forward
from equivariant.shapes import Float


class MessageLayer(nn.Module):
    """Messages between views, attention within each view, and a map of every token.

        m_v = W t_v0,    m̂ = m + attention over v of norm(m)
        [t_v, ·] ← [t_v, m̂_v] + attention within v of norm([t_v, m̂_v])
        t ← t + W₂ gelu(W₁ norm(t))

    t_v0 is the first token of view v, which stands for it. Without messages a view never learns of
    another.

    Args:
        dim: Width of the tokens.
        heads: Divides the width.
        messages: Whether views exchange messages.

    Raises:
        ConventionError: The heads do not divide the width.

    Source: Ni et al. 2022 (X-CLIP), eq. 4 to 7.
    """

    def __init__(self, dim: int, heads: int = 4, *, messages: bool = True) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.messages = messages
        if messages:
            self.write, self.norm_message = nn.Linear(dim, dim), nn.LayerNorm(dim)
            self.across = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.within = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.feed = feed_forward(dim)

    def forward(self, tokens: Float[Tensor, "batch views n d"]) -> Float[Tensor, "batch views n d"]:
        """Tokens after one round.

        Args:
            tokens: Shape (batch, views, n, dim), n >= 1.
        """
        count, x = tokens.shape[2], tokens
        if self.messages:
            m = self.write(tokens[:, :, 0])
            n = self.norm_message(m)
            m = m + self.across(n, n, n, need_weights=False)[0]
            x = torch.cat([tokens, m[:, :, None]], 2)
        y = x.flatten(0, 1)
        n = self.norm(y)
        y = (y + self.within(n, n, n, need_weights=False)[0])[:, :count]
        moved: Tensor = (y + self.feed(y)).unflatten(0, tokens.shape[:2])
        return moved


class MessageEncoder(nn.Module):
    """Several views of one object to one embedding of it.

    A trained token is put before those of each view; after the layers the embedding is the mean of
    these first tokens over the views. Views have no numbers: renumbering them, as starting a
    turntable elsewhere does, renumbers the first tokens and leaves the embedding.

    Args:
        dim: Width of the tokens.
        layers: Number of rounds, at least 1.
        heads: Divides the width.
        messages: Whether views exchange messages.

    Raises:
        ConventionError: There is no layer, or the heads do not divide the width.

    Example:
        >>> encoder = MessageEncoder(16, layers=2)
        >>> encoder(torch.randn(4, 6, 10, 16)).shape  # 6 views of 10 tokens
        torch.Size([4, 16])

    Source: Ni et al. 2022 (X-CLIP).
    """

    def __init__(self, dim: int, *, layers: int = 1, heads: int = 4, messages: bool = True) -> None:
        super().__init__()
        if layers < 1:
            raise ConventionError(
                expected="one layer or more", got=str(layers), argument="layers",
                advice="One round of messages joins all views.",
            )  # fmt: skip
        self.first = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = nn.Sequential(
            *(MessageLayer(dim, heads, messages=messages) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Float[Tensor, "batch views n d"]) -> Float[Tensor, "batch d"]:
        """The embedding, shape (batch, dim).

        Args:
            tokens: Shape (batch, views, n, dim).
        """
        return self.view_tokens(tokens).mean(1)

    def view_tokens(
        self, tokens: Float[Tensor, "batch views n d"]
    ) -> Float[Tensor, "batch views d"]:
        """The first token of each view, shape (batch, views, dim).

        Args:
            tokens: Shape (batch, views, n, dim).
        """
        first = self.first.expand(*tokens.shape[:2], 1, -1)
        found: Tensor = self.norm(self.layers(torch.cat([first, tokens], 2))[:, :, 0])
        return found
