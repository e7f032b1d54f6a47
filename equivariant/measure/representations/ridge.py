"""Linear heads in closed form: ridge regression from sums over rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.shapes import Float

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def ridge(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], *, penalty: float = 1e-1
) -> tuple[Float[Tensor, "d c"], Float[Tensor, " c"]]:
    """Linear map and offset that minimize |x W + b - y|² + n penalty |W|², in float64.

    Columns of x should have a deviation of about 1; the offset is not penalized.

    Args:
        x: Shape (N, D).
        y: Shape (N, C).
        penalty: Relative to the mean square of a column, > 0.

    Returns:
        W, shape (D, C), and b, shape (C,), float64.
    """
    return Moments.of(x, y).ridge(penalty)


@dataclass(frozen=True)
class Moments:
    """Sums over rows (x, y) that determine every linear least-squares fit of y by x.

    Rows are counted with a leading 1, so that offsets need no care of their own.

    Args:
        xx: Σ (1, x)(1, x)ᵀ, shape (1 + D, 1 + D), float64.
        xy: Σ (1, x) yᵀ, shape (1 + D, C).
        yy: Σ |y|², shape ().
    """

    xx: Tensor
    xy: Tensor
    yy: Tensor

    @staticmethod
    def of(x: Float[Tensor, "n d"], y: Float[Tensor, "n c"]) -> Moments:
        """Those of some rows."""
        one = torch.cat([x.new_ones(len(x), 1), x], 1).double()
        return Moments(one.T @ one, one.T @ y.double(), y.double().square().sum())

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy)

    @property
    def rows(self) -> float:
        """How many rows were counted."""
        return float(self.xx[0, 0])

    def ridge(self, penalty: float) -> tuple[Float[Tensor, "d c"], Float[Tensor, " c"]]:
        """W and b that minimize |x W + b - y|² + rows penalty |W|²."""
        mean_x, mean_y = self.xx[0, 1:] / self.rows, self.xy[0] / self.rows
        gram = self.xx[1:, 1:] - self.rows * torch.outer(mean_x, mean_x)
        cross = self.xy[1:] - self.rows * torch.outer(mean_x, mean_y)
        eye = torch.eye(len(gram)).to(gram)
        weight = torch.linalg.solve(gram + penalty * self.rows * eye, cross)
        return weight, mean_y - mean_x @ weight

    def error(self, weight: Tensor, offset: Tensor) -> float:
        """Σ |x W + b - y|² over the rows."""
        whole = torch.cat([offset[None], weight])
        return float(self.yy - 2 * (whole * self.xy).sum() + (whole * (self.xx @ whole)).sum())


def chosen_ridge(fit: Moments, held: Moments) -> tuple[Tensor, Tensor]:
    """Ridge regression on all rows with the penalty that does best on some.

    Args:
        fit: Rows that the penalties are tried on.
        held: Rows of other objects, which choose among :data:`PENALTIES`.

    Returns:
        W, shape (D, C), and b, shape (C,), float64, of all rows together.
    """
    best = min(PENALTIES, key=lambda penalty: held.error(*fit.ridge(penalty)))
    return (fit + held).ridge(best)
