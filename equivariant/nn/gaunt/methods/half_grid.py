"""Quadrature on half of the sphere: the other half follows by the parity of degrees."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.nn.gaunt.methods.grid import bracket
from equivariant.nn.gaunt.methods.sampling import Samples, Sampling

Tables = tuple[Tensor, Tensor]


class HalfGrid(Sampling):
    """Even and odd degrees apart, f = e + o, at points of which no two are opposite.

        f g = (e e' + o o') + (e o' + o e')

    The first sum has even degrees only, the second odd ones, and both take equal or opposite
    values at opposite points. Brackets have their even degrees from e o' + o e'. Matrix products
    are half as large as on the whole sphere; there are two more multiplications per point.

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
        self.settings = (exact + (exact + 1) % 2, normalization, dtype, device)
        self.points = (self.settings[0] + 2) // 2 * (self.settings[0] + 1)

    def sample(self, x: Tensor, degree: int) -> Samples:
        """See :class:`Sampling`: even and odd part, or both derivatives of each."""
        values, along, around, _ = _half_tables(degree, *self.settings)
        parts = [x.index_select(-2, places) for places in parity_places(degree, x.device)]
        kinds = (values,) if self.kind == "even" else (along, around)
        return tuple(table[side] @ part for side, part in enumerate(parts) for table in kinds)

    def combine(self, first: Samples, second: Samples) -> Samples:
        """See :class:`Sampling`: what has even degrees and what has odd ones."""
        if self.kind == "even":
            (e1, o1), (e2, o2) = first, second
            return torch.addcmul(e1 * e2, o1, o2), torch.addcmul(e1 * o2, o1, e2)
        even1, odd1, even2, odd2 = first[:2], first[2:], second[:2], second[2:]
        return (
            bracket(even1, odd2) + bracket(odd1, even2),
            bracket(even1, even2) + bracket(odd1, odd2),
        )

    def project(self, samples: Samples, degree: int) -> Tensor:
        """See :class:`Sampling`."""
        tables = _half_tables(degree, *self.settings)[3]
        places = parity_places(degree, samples[0].device)
        parts = [table @ part for table, part in zip(tables, samples, strict=True)]
        shape = (*parts[0].shape[:-2], (degree + 1) ** 2, parts[0].shape[-1])
        result = parts[0].new_empty(shape)
        for place, part in zip(places, parts, strict=True):
            result.index_copy_(-2, place, part)
        return result


@lru_cache(maxsize=64)
def parity_places(degree: int, device: torch.device) -> Tables:
    """Places of the coefficients of even degrees, and of odd degrees.

    Args:
        degree: Largest degree.
        device: Of the result.

    Returns:
        Two tensors of indices.

    Example:
        >>> parity_places(1, torch.device("cpu"))
        (tensor([0]), tensor([1, 2, 3]))
    """
    with torch.inference_mode(False):
        count = torch.arange(degree + 1, device="cpu")
        parity = (count % 2).repeat_interleave(2 * count + 1)
        even, odd = ((parity == side).nonzero()[:, 0].to(device) for side in (0, 1))
        return even, odd


@lru_cache(maxsize=256)
def _half_tables(
    degree: int,
    exact: int,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tables, Tables, Tables, Tables]:
    """Values and both derivatives, (points, coefficients), and projections, by parity."""
    with torch.inference_mode(False), torch.no_grad():
        whole = grid_tables(degree, exact, normalization, torch.float64, torch.device("cpu"))
        count = exact + 1
        half = (torch.arange(whole[0].shape[1], device="cpu") % count) < count // 2
        places = parity_places(degree, torch.device("cpu"))

        def cut(table: Tensor) -> Tables:
            even, odd = (table[half][:, place].contiguous().to(device, dtype) for place in places)
            return even, odd

        def project_half(table: Tensor) -> Tables:
            even, odd = (part.T.contiguous() for part in cut(2 * table))
            return even, odd

        return cut(whole[0].T), cut(whole[1].T), cut(whole[2].T), project_half(whole[3])


@lru_cache(maxsize=256)
def half_grid(
    exact: int,
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> HalfGrid:
    """The method for given sizes; see :class:`HalfGrid` for the arguments.

    Returns:
        One object per set of arguments.

    Example:
        >>> half_grid(6, "even", "integral", torch.float32, torch.device("cpu")).points
        32
    """
    return HalfGrid(exact, kind, normalization, dtype, device)
