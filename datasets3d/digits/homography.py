"""The sampling law of homographies of the picture plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from datasets3d.digits.laws import PlaneLaw
from equivariant.errors import ConventionError
from equivariant.groups import SL, Group

DEVIATIONS = (0.15, 0.35, 0.17, 0.35, 0.15, 0.17, 0.15, 0.15)
"""s, one per matrix of the basis (E₁₁ - I/3, E₁₂, E₁₃, E₂₁, E₂₂ - I/3, E₂₃, E₃₁, E₃₂)."""

_PLACES = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1))
_SQUARINGS, _TERMS = 8, 10


@dataclass(frozen=True)
class HomographyLaw(PlaneLaw):
    """Homographies near the identity, of determinant 1: x ↦ H x in homogeneous coordinates.

        H = exp(Σ_k x_k B_k),   x_k ~ N(0, (scale · s_k / 2)²) independent

    in the basis B = (E₁₁ - I/3, E₁₂, E₁₃, E₂₁, E₂₂ - I/3, E₂₃, E₃₁, E₃₂) of sl(3), with
    s = (.15, .35, .17, .35, .15, .17, .15, .15). A point (x, y) goes to
    ((H u)₁ / (H u)₃, (H u)₂ / (H u)₃), u = (x, y, 1).

    Args:
        scale: Factor of all deviations, at least 0 and at most 20; 0 gives the identity.
        deviations: s, eight numbers of at least 0 and at most 1.

    Raises:
        ConventionError: A number is out of its range.

    Example:
        >>> h = HomographyLaw().sample(0, np.arange(4))
        >>> h.shape, np.linalg.det(h).round(9).tolist()
        ((4, 3, 3), [1.0, 1.0, 1.0, 1.0])

    Source: MacDonald et al. 2022, Enabling equivariance for arbitrary Lie groups, whose set of
        homographies of digits has these basis and deviations, but another law.
    """

    scale: float = 1.0
    deviations: tuple[float, ...] = DEVIATIONS

    numbers: ClassVar[int] = 8

    def __post_init__(self) -> None:
        fits = len(self.deviations) == 8 and all(0.0 <= s <= 1.0 for s in self.deviations)
        if not (0.0 <= self.scale <= 20.0 and fits):
            raise ConventionError(
                expected="a scale in [0, 20] and eight deviations in [0, 1]",
                got=f"{self.scale}, {self.deviations}", argument="scale",
                advice="See the documentation of HomographyLaw.",
            )  # fmt: skip

    @property
    def motions(self) -> Group:
        """SL(3): these matrices move homogeneous coordinates, not points of the plane."""
        return SL(3)

    def matrices(
        self, uniform: NDArray[np.float64], corners: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        self._check(uniform)
        x = ndtri(uniform) * (0.5 * self.scale * np.array(self.deviations))
        algebra = np.zeros((len(x), 3, 3))
        for place, (row, column) in enumerate(_PLACES):
            algebra[:, row, column] = x[:, place]
        algebra -= ((x[:, 0] + x[:, 4]) / 3.0)[:, None, None] * np.eye(3)
        return _exponential(algebra)


def _exponential(algebra: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp by Taylor's series of X / 2⁸, squared eight times, one matrix like another.

    The terms and squarings are the same for every matrix, so its bits do not depend on which
    others are drawn with it. Norms here are below 20: the remainder is below (20/256)¹¹/11!.
    """
    small = algebra * 2.0**-_SQUARINGS
    total = term = np.broadcast_to(np.eye(3), algebra.shape)
    for order in range(1, _TERMS + 1):
        term = term @ small / order
        total = total + term
    for _ in range(_SQUARINGS):
        total = total @ total
    result: NDArray[np.float64] = total
    return result
