"""Quadrature in two steps, along the polar angle and around it: cheapest for high degrees."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from equivariant.nn.gaunt.kernels.grid import bracket
from equivariant.nn.gaunt.kernels.sampling import Samples, Sampling
from equivariant.nn.gaunt.tables import Kind, Normalization, grid_tables, sphere_grid


class Factors(NamedTuple):
    """Tables of one operand: Y_lm = P_lm(β) T_m(α) with P from row m of a list, m >= 0.

    ``places`` are those of the coefficients of order m and of order −m; ``along`` and ``divided``
    are ∂_β P and P / sin β. ``circle`` is T, orders −L..L by angles, and ``turned`` its
    derivative; ``project`` holds P times weights, ``back`` is T times the step in α.
    """

    places: list[Tensor]
    values: list[Tensor]
    along: list[Tensor]
    divided: list[Tensor]
    project: list[Tensor]
    circle: Tensor
    turned: Tensor
    back: Tensor


class Separable(Sampling):
    """The grid of :class:`Grid`, with the sum over degrees and the one over orders apart.

    For each order m, F_m(β) = Σ_l P_lm(β) x_lm; then f(β, α) = Σ_m T_m(α) F_m(β): the number of
    multiplications grows with the third power of the degree instead of the fourth.

    Args:
        exact: Degree that the grid integrates; a product needs L1 + L2 + L3.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        dtype: Of the operands.
        device: Of the operands.
    """

    def __init__(
        self,
        exact: int,
        kind: Kind,
        normalization: Normalization,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.kind = kind
        self.rows, self.count = (exact + 2) // 2, exact + 1
        self.settings = (exact, normalization, dtype, device)
        self.points = self.rows * self.count

    def sample(self, x: Tensor, degree: int) -> Samples:
        """See :class:`Sampling`; points of one row lie on an axis of their own."""
        tables = _factors(degree, *self.settings)
        if self.kind == "even":
            return (self._values(x, tables.places, tables.values, tables.circle),)
        return (
            self._values(x, tables.places, tables.along, tables.circle),
            self._values(x, tables.places, tables.divided, tables.turned),
        )

    def _values(
        self, x: Tensor, places: list[Tensor], legendre: list[Tensor], circle: Tensor
    ) -> Tensor:
        batch, _, vectors = x.shape
        degree = len(legendre) - 1
        orders = x.new_empty(batch, 2 * degree + 1, self.rows, vectors)
        for order, table in enumerate(legendre):
            rows = x.index_select(-2, places[order])
            for side, sign in enumerate((1, -1) if order else (1,)):
                part = rows[:, side * table.shape[1] : (side + 1) * table.shape[1]]
                orders[:, degree + sign * order] = table @ part
        return circle.T @ orders.view(batch, 2 * degree + 1, self.rows * vectors)

    def combine(self, first: Samples, second: Samples) -> Samples:
        """See :class:`Sampling`."""
        if first[0].shape != second[0].shape:
            first, second = (
                tuple(part.unflatten(-1, (self.rows, -1)) for part in samples)
                for samples in (first, second)
            )
        value = first[0] * second[0] if self.kind == "even" else bracket(first, second)
        return (value if value.dim() == 3 else value.flatten(-2),)

    def project(self, samples: Samples, degree: int) -> Tensor:
        """See :class:`Sampling`."""
        tables = _factors(degree, *self.settings)
        batch, _, length = samples[0].shape
        orders = (tables.back @ samples[0]).view(batch, 2 * degree + 1, self.rows, -1)
        result = orders.new_empty(batch, (degree + 1) ** 2, length // self.rows)
        for order, table in enumerate(tables.project):
            sides = [
                table @ orders[:, degree + sign * order] for sign in ((1, -1) if order else (1,))
            ]
            result.index_copy_(-2, tables.places[order], torch.cat(sides, -2))
        return result


@lru_cache(maxsize=256)
def _factors(
    degree: int,
    exact: int,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Factors:
    """The tables of one operand, built in float64: P is read off at angles where T is not 0."""
    with torch.inference_mode(False), torch.no_grad():
        whole = grid_tables(degree, exact, normalization, torch.float64, torch.device("cpu"))
        count = exact + 1
        angle = torch.arange(count, dtype=torch.float64, device="cpu") * (2 * math.pi / count)
        orders = torch.arange(-degree, degree + 1, dtype=torch.float64, device="cpu")[:, None]
        phase = orders.abs() * angle
        cosine, sine = math.sqrt(2) * phase.cos(), math.sqrt(2) * phase.sin()
        circle = torch.where(orders > 0, cosine, torch.where(orders < 0, sine, 1.0))
        turned = -orders * circle.flip(0)
        step = 2 * math.pi / count
        shaped = [table.T.reshape(-1, count, table.shape[0])[:, 0] for table in whole[:2]]
        weighted = whole[3].reshape(-1, count, whole[3].shape[1])[:, 0] / step
        sphere = (1 - _heights(exact) ** 2).sqrt()[:, None]
        places: list[Tensor] = []
        lists: tuple[list[Tensor], ...] = ([], [], [], [])
        for order in range(degree + 1):
            here = torch.tensor([n * n + n + order for n in range(order, degree + 1)])
            there = torch.tensor([n * n + n - order for n in range(order, degree + 1)])
            places.append((torch.cat([here, there]) if order else here).to(device))
            scale = math.sqrt(2) if order else 1.0
            values, along = (table[:, here] / scale for table in shaped)
            found = (values, along, values / sphere, (weighted[:, here] / scale).T)
            for rows, table in zip(lists, found, strict=True):
                rows.append(table.contiguous().to(device, dtype))
        around = (circle, turned, circle * step)
        first, second, third = (table.contiguous().to(device, dtype) for table in around)
        legendre, slopes, divided, project = lists
        return Factors(places, legendre, slopes, divided, project, first, second, third)


def _heights(exact: int) -> Tensor:
    """cos β of every row, float64."""
    points, _ = sphere_grid(exact)
    return points[:: exact + 1, 1]


@lru_cache(maxsize=256)
def separable(
    exact: int,
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Separable:
    """The method for given sizes; see :class:`Separable` for the arguments.

    Returns:
        One object per set of arguments.

    Example:
        >>> separable(6, "even", "integral", torch.float32, torch.device("cpu")).points
        28
    """
    return Separable(exact, kind, normalization, dtype, device)
