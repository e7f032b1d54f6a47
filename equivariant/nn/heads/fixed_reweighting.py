"""A projection head without weights: coordinates fall off geometrically."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float


class FixedReweighting(nn.Module):
    """Multiplies coordinates by powers of one number, the most spread ones by the largest.

        h_i = κ^{r_i} z_i,    r_i = number of coordinates of larger variance, 0 at first by place

    Losses that compare h hardly see the coordinates of high rank, so these may keep what views
    do not share: the features before the head weigh more evenly than those behind it. The
    definition is ours; the paper proposes fixed diagonal heads and gives no code.

    Args:
        dim: Number of coordinates D.
        kappa: κ, in (0, 1); 1 is no head.

    Raises:
        ConventionError: κ or the number of coordinates is out of range.

    Example:
        >>> head = FixedReweighting(3, kappa=0.5)
        >>> head(torch.ones(1, 3)).tolist()
        [[1.0, 0.5, 0.25]]
        >>> head.order_by(torch.tensor([[0.0, 0.0, 0.0], [1.0, 3.0, 2.0]]))
        >>> head(torch.ones(1, 3)).tolist()
        [[0.25, 1.0, 0.5]]

    Source: Xue et al. 2024, "Investigating the benefits of projection head for representation
    learning", is the inspiration.
    """

    rank: Tensor

    def __init__(self, dim: int, *, kappa: float) -> None:
        super().__init__()
        if dim < 1 or not 0.0 < kappa <= 1.0:
            raise ConventionError(
                expected="at least one coordinate, and kappa in (0, 1]",
                got=f"dim={dim}, kappa={kappa}", argument="kappa",
                advice="0.9 divides the weight of the 22nd coordinate by ten.",
            )  # fmt: skip
        self.kappa = kappa
        self.register_buffer("rank", torch.arange(dim))

    @torch.no_grad()
    def order_by(self, z: Float[Tensor, "n d"]) -> None:
        """Rank coordinates by their variance over rows, descending; of equals the first first.

        Args:
            z: Features, shape (N, D).

        Raises:
            ShapeError: The width is another one, or there are fewer than two rows.
        """
        if z.ndim != 2 or z.shape[1] != len(self.rank) or len(z) < 2:
            raise ShapeError(
                expected=f"features of shape (N, {len(self.rank)}), N >= 2",
                got=f"shape {tuple(z.shape)}", argument="z",
                advice="Pass features of a batch or of the training set.",
            )  # fmt: skip
        order = z.double().var(0).argsort(descending=True, stable=True)
        self.rank[order] = torch.arange(len(order), device=order.device)

    def forward(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """h, the shape of z."""
        return z * self.kappa ** self.rank.to(z)
