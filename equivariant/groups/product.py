"""Direct products of groups, as block-diagonal matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.base import Group
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


class Product(Group):
    """Direct product: an element is the block-diagonal matrix of one element per factor.

    Coordinates of the factors follow one another.

    Args:
        *factors: At least one group.

    Raises:
        ConventionError: No factor is given.

    Example:
        >>> from equivariant.groups import SO3, Translation
        >>> group = Product(SO3(), Translation(1), Translation(1))
        >>> group.dim, group.matrix_size
        (5, 7)
    """

    def __init__(self, *factors: Group) -> None:
        if not factors:
            raise ConventionError(
                expected="at least one group",
                got="none",
                argument="factors",
                advice="Name the factors: Product(SO3(), Translation(1)).",
            )
        self.factors = factors

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Product) and self.factors == other.factors

    def __hash__(self) -> int:
        return hash(self.factors)

    def __repr__(self) -> str:
        return f"Product({', '.join(map(repr, self.factors))})"

    @property
    def compact(self) -> bool:  # type: ignore[override]
        return all(factor.compact for factor in self.factors)

    @property
    def dim(self) -> int:
        return sum(factor.dim for factor in self.factors)

    @property
    def matrix_size(self) -> int:
        return sum(factor.matrix_size for factor in self.factors)

    @property
    def space_dim(self) -> None:
        """None: each factor has a space of its own."""
        return None

    @property
    def preserves_lengths(self) -> bool:
        return all(factor.preserves_lengths for factor in self.factors)

    @property
    def orthogonal_dim(self) -> int | None:
        """That of the one factor that turns a space; None if none or several do."""
        turning = self._turning()
        return self.factors[turning].orthogonal_dim if turning is not None else None

    def orthogonal_part(self, g: Matrix) -> Float[Tensor, "... d d"]:
        """That of the one factor that turns a space.

        Raises:
            ConventionError: None or several do.
        """
        turning = self._turning()
        if turning is None:
            raise ConventionError(
                expected="one factor that turns a space", got=str(self), argument="group",
                advice="Name the factor: Factor(IrrepsAction(irreps, SO3()), product, index).",
            )  # fmt: skip
        block = self._blocks()[turning]
        return self.factors[turning].orthogonal_part(g[..., block, block])

    @property
    def direction_names(self) -> tuple[str, ...]:
        """Those of each factor: ``"turn x of factor 0"``."""
        return tuple(
            f"{name} of factor {k}"
            for k, factor in enumerate(self.factors)
            for name in factor.direction_names
        )

    @property
    def injectivity_radius(self) -> float:
        """The smallest of the factors' radii."""
        return min(factor.injectivity_radius for factor in self.factors)

    def join(self, elements: Sequence[Tensor]) -> Matrix:
        """Element from one element per factor, each (..., n_k, n_k), batches broadcast.

        Raises:
            ShapeError: The number of elements is not the number of factors.
        """
        if len(elements) != len(self.factors):
            raise ShapeError(
                expected=f"{len(self.factors)} elements, one per factor of {self}",
                got=f"{len(elements)}",
                argument="elements",
                advice="Pass them in the order of the factors.",
            )
        for factor, element in zip(self.factors, elements, strict=True):
            factor.check_element(element, "elements")
        batch = torch.broadcast_shapes(*(element.shape[:-2] for element in elements))
        rows = [
            pad(element.expand(*batch, -1, -1), (block.start, self.matrix_size - block.stop))
            for block, element in zip(self._blocks(), elements, strict=True)
        ]
        return torch.cat(rows, -2)

    def split(self, g: Matrix) -> tuple[Tensor, ...]:
        """One element per factor, each (..., n_k, n_k)."""
        self.check_element(g)
        return tuple(g[..., block, block] for block in self._blocks())

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(self.dim, self.matrix_size, self.matrix_size, dtype=torch.float64)
        row = 0
        for factor, block in zip(self.factors, self._blocks(), strict=True):
            basis[row : row + factor.dim, block, block] = factor.basis()
            row += factor.dim
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        parts = coordinates.split([factor.dim for factor in self.factors], -1)
        return self.join(
            [factor.exp(part) for factor, part in zip(self.factors, parts, strict=True)]
        )

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        parts = zip(self.factors, self.split(g), strict=True)
        return torch.cat([factor.log(part) for factor, part in parts], -1)

    def special_elements(self) -> dict[str, Matrix]:
        """Those of each factor, the others at the identity: ``"half turn 0 of factor 1"``."""
        found = {}
        for k, factor in enumerate(self.factors):
            for name, g in factor.special_elements().items():
                parts: list[Tensor] = [other.identity() for other in self.factors]
                parts[k] = g
                found[f"{name} of factor {k}"] = self.join(parts)
        return found

    def discrete_generators(self) -> Matrix:
        """Those of each factor, the others at the identity."""
        found = []
        for k, factor in enumerate(self.factors):
            for g in factor.discrete_generators():
                parts: list[Tensor] = [other.identity() for other in self.factors]
                parts[k] = g
                found.append(self.join(parts))
        return torch.stack(found) if found else super().discrete_generators()

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Without one factor, ``"factor 1"``, and what each factor can drop by itself."""
        found = {}
        for k, factor in enumerate(self.factors):
            found[f"factor {k}"] = self._replacing(k, lambda g: torch.eye(g.shape[-1]).to(g))
            for name, drop in factor.without().items():
                found[f"{name} of factor {k}"] = self._replacing(k, drop)
        return found

    def defect(self, g: Matrix) -> Scalar:
        """The largest of the factors' defects and of what stands outside of their blocks."""
        parts = self.split(g)
        outside = (g - self.join(parts)).abs().amax((-2, -1))
        found = (factor.defect(part) for factor, part in zip(self.factors, parts, strict=True))
        return torch.stack([outside, *found], -1).amax(-1)

    def inverse(self, g: Matrix) -> Matrix:
        parts = zip(self.factors, self.split(g), strict=True)
        return self.join([factor.inverse(part) for factor, part in parts])

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Independent elements of the factors."""
        return self.join(
            [factor.draw(batch, generator=generator, scale=scale) for factor in self.factors]
        )

    def project(self, matrix: Matrix) -> Matrix:
        parts = zip(self.factors, self.split(matrix), strict=True)
        return self.join([factor.project(part) for factor, part in parts])

    def _replacing(self, k: int, change: Callable[[Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
        """An element with the part of factor k changed."""

        def changed(g: Matrix) -> Matrix:
            parts = list(self.split(g))
            parts[k] = change(parts[k])
            return self.join(parts)

        return changed

    def _turning(self) -> int | None:
        """Index of the one factor whose orthogonal part is not the identity throughout."""
        found = [
            k
            for k, factor in enumerate(self.factors)
            if factor.orthogonal_dim is not None and factor.turns
        ]
        return found[0] if len(found) == 1 else None

    def _blocks(self) -> list[slice]:
        ends = list(accumulate(factor.matrix_size for factor in self.factors))
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
