"""Quadrature in two steps, along the polar angle and around it: cheapest for high degrees."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import grid_tables, sphere_grid
from equivariant.nn.gaunt.methods.grid import bracket
from equivariant.nn.gaunt.methods.sampling import CHUNK, Samples, Sampling


class Factors(NamedTuple):
    """Tables of one operand: Y_lm = P_lm(β) T_m(α), sorted by order m = 0, 1, −1, 2, −2, ...

    ``sort`` are the places of coefficients in that order and ``unsort`` leads back. For each
    m >= 0, (rows of the grid, L+1−m): ``values`` is P, ``along`` ∂_β P and ``divided`` P / sin β;
    ``project`` is P times weights, slope. ``circle`` is T, (angles, orders), and ``slope``
    its derivative; ``back`` is T times the step in α, slope.
    """

    sort: Tensor
    unsort: Tensor
    values: list[Tensor]
    along: list[Tensor]
    divided: list[Tensor]
    project: list[Tensor]
    circle: Tensor
    slope: Tensor
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

    chunk = 2 * CHUNK  # many small products: fewer of them

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
        """See :class:`Sampling`; the axis of vectors also holds the rows of the grid."""
        tables = _factors(degree, *self.settings)
        ordered = x.index_select(-2, tables.sort)
        if self.kind == "even":
            return (self._values(ordered, tables.values, tables.circle),)
        return (
            self._values(ordered, tables.along, tables.circle),
            self._values(ordered, tables.divided, tables.slope),
        )

    def _values(self, ordered: Tensor, legendre: list[Tensor], circle: Tensor) -> Tensor:
        batch, _, vectors = ordered.shape
        orders = ordered.new_empty(batch, 2 * len(legendre) - 1, self.rows, vectors)
        start = 0
        for order, table in enumerate(legendre):
            first, signs = max(0, 2 * order - 1), 2 if order else 1
            stop = start + signs * table.shape[1]
            part = ordered[:, start:stop].unflatten(1, (signs, -1))
            orders[:, first : first + signs] = table @ part
            start = stop
        return circle @ orders.flatten(-2)

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
        orders = (tables.back @ samples[0]).unflatten(-1, (self.rows, -1))
        parts = []
        for order, table in enumerate(tables.project):
            first, signs = max(0, 2 * order - 1), 2 if order else 1
            parts.append((table @ orders[:, first : first + signs]).flatten(1, 2))
        return torch.cat(parts, -2).index_select(-2, tables.unsort)


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
        orders = torch.tensor([0, *(s * m for m in range(1, degree + 1) for s in (1, -1))])
        orders = orders.double()
        phase = angle[:, None] * orders.abs()
        cosine, sine = math.sqrt(2) * phase.cos(), math.sqrt(2) * phase.sin()
        circle = torch.where(orders > 0, cosine, torch.where(orders < 0, sine, 1.0))
        slope = orders.abs() * torch.where(orders > 0, -sine, cosine)
        step = 2 * math.pi / count
        shaped = [table.T.reshape(-1, count, table.shape[0])[:, 0] for table in whole[:2]]
        weighted = whole[3].reshape(-1, count, whole[3].shape[1])[:, 0] / step
        sphere = (1 - _heights(exact) ** 2).sqrt()[:, None]
        sort: list[int] = []
        lists: tuple[list[Tensor], ...] = ([], [], [], [])
        for order in range(degree + 1):
            here = [n * n + n + order for n in range(order, degree + 1)]
            sort += [*here, *(place - 2 * order for place in here if order)]
            scale = math.sqrt(2) if order else 1.0
            values, along = (table[:, here] / scale for table in shaped)
            found = (values, along, values / sphere, (weighted[:, here] / scale).T)
            for rows, table in zip(lists, found, strict=True):
                rows.append(table.contiguous().to(device, dtype))
        places = torch.tensor(sort)
        around = (circle, slope, (circle * step).T)
        first, second, third = (table.contiguous().to(device, dtype) for table in around)
        legendre, slopes, divided, project = lists
        return Factors(
            places.to(device), places.argsort().to(device),
            legendre, slopes, divided, project, first, second, third,
        )  # fmt: skip


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
