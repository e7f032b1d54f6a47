"""Symmetries that a map has without being told: null directions of its local errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.measure.local.local_error import LocalPart, LocalReport


@dataclass(frozen=True)
class Symmetries:
    """Directions of an algebra from the least to the most broken; k of them.

    Args:
        group: The group within which symmetries were looked for.
        eigenvalues: E |L_X f|² / E |f - mean f|² for unit X, ascending, shape (k,), float64.
        low: Lower ends of their intervals, shape (k,).
        high: Upper ends, shape (k,).
        confidence: Of each interval.
        directions: Coordinates of the unit directions X, shape (k, group.dim), float64.
    """

    group: Group
    eigenvalues: Tensor
    low: Tensor
    high: Tensor
    confidence: float
    directions: Tensor

    def dimension(self, tolerance: float = 1e-6) -> int:
        """Number of directions along which the map changes by less than √tolerance of its spread.

        Args:
            tolerance: Largest eigenvalue that counts as a symmetry, at least 0.
        """
        return int((self.eigenvalues <= tolerance).sum())

    def subspace(self, tolerance: float = 1e-6) -> Tensor:
        """The symmetric directions, shape (dimension, group.dim)."""
        return self.directions[: self.dimension(tolerance)]

    def closure(self, tolerance: float = 1e-6) -> float:
        """How far the symmetric directions are from being a subalgebra.

            max over pairs |[X, Y] - P [X, Y]| / (|X| |Y|),   P the projection on their span

        in the Frobenius norm; 0 for a subalgebra, which exact symmetries always are, and for
        fewer than two directions. A value that is not small says that the tolerance is too wide
        or the data too few.
        """
        return closure_residual(self.group, self.subspace(tolerance))


def discover_symmetries(
    report: LocalReport | LocalPart,
    *,
    group: Group | None = None,
    directions: Tensor | None = None,
    metric: Tensor | None = None,
    clusters: Tensor | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    generator: torch.Generator | None = None,
) -> Symmetries:
    """Find the directions of the algebra along which a map is equivariant.

    L_X f is linear in X, so E |L_X f|² = Xᵀ G X, and the eigenvectors of G, in an orthonormal
    basis of the algebra, are the directions from the least to the most broken. Null vectors are
    symmetries:

        G u = λ E |f - mean f|² M u,   uᵀ M u = 1

    Args:
        report: Local errors over the basis (or other independent directions) of the algebra, or
            those of one part of the output, with ``group``.
        group: The group, for a part.
        directions: Coordinates of the part's directions, shape (k, dim); None is the basis.
        metric: Inner product M of the algebra in coordinates, shape (dim, dim), positive
            definite; None is the Frobenius product of the matrices. It says what a unit step is:
            where directions carry different units (metres, radians), choose it.
        clusters: Which items belong together (views of one object), shape (items,), int64;
            whole clusters are resampled. None: items are independent.
        resamples: Bootstrap samples of the intervals, at least 1. Percentile intervals of
            sorted eigenvalues lean apart where eigenvalues nearly coincide.
        confidence: Of each interval, in (0, 1).
        generator: Source of the resampling; None uses a fresh generator with seed 0.

    Raises:
        ConventionError: A part comes without its group, or the directions are dependent.
        ShapeError: There is not one cluster per item.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> from equivariant.measure import local_equivariance_error
        >>> x = torch.randn(32, 3, dtype=torch.float64)
        >>> height = lambda x: x[:, 2:]
        >>> local = local_equivariance_error(height, x, act_in=Vectors(SO3()), act_out=Trivial(1))
        >>> found = discover_symmetries(local)
        >>> found.dimension(), found.directions[0].abs().round(decimals=6)
        (1, tensor([0.0000, 0.0000, 0.7071], dtype=torch.float64))
    """
    if isinstance(report, LocalReport):
        group, directions, part = report.group, report.directions, report.overall
    else:
        part = report
    if group is None:
        raise ConventionError(
            expected="the group of a part's local errors",
            got="none",
            argument="group",
            advice="Pass the whole report, or group=report.group.",
        )
    rows = torch.eye(group.dim, dtype=torch.float64) if directions is None else directions
    to_orthonormal = _orthonormal(group, rows, metric)
    grams = to_orthonormal @ part.gram_of_item.cpu() @ to_orthonormal.T
    spread = part.spread_of_item.cpu()
    eigenvalues, vectors = torch.linalg.eigh(grams.mean(0))
    shares = _cluster_weights(len(grams), clusters, resamples, generator)
    drawn = torch.einsum("bi,ijk->bjk", shares, grams)
    scales = (shares @ spread).clamp(min=1e-300)
    values = torch.linalg.eigvalsh(drawn).clamp(min=0) / scales.unsqueeze(-1)
    tails = torch.tensor([0.5 - confidence / 2, 0.5 + confidence / 2], dtype=torch.float64)
    low, high = values.quantile(tails, dim=0)
    return Symmetries(
        group=group,
        eigenvalues=eigenvalues.clamp(min=0) / max(part.scale, 1e-300),
        low=low,
        high=high,
        confidence=confidence,
        directions=vectors.T @ to_orthonormal @ rows,
    )


def closure_residual(group: Group, directions: Tensor) -> float:
    """max over pairs |[X, Y] - P [X, Y]| / (|X| |Y|) of a span's directions, in Frobenius norms.

    Args:
        group: The group.
        directions: Independent coordinates, shape (k, dim).

    Returns:
        At least 0; 0 where the span is a subalgebra.

    Example:
        >>> from equivariant.groups import SO3
        >>> round(closure_residual(SO3(), torch.eye(3, dtype=torch.float64)[:2]), 4)
        0.7071
    """
    if len(directions) < 2:
        return 0.0
    matrices = group.hat(directions.double())
    first, second = torch.triu_indices(len(matrices), len(matrices), 1)
    x, y = matrices[first], matrices[second]
    brackets = (x @ y - y @ x).flatten(1)
    span = torch.linalg.qr(matrices.flatten(1).T).Q
    outside = (brackets - brackets @ span @ span.T).norm(dim=1)
    return float((outside / (x.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1))).max())


def _orthonormal(group: Group, rows: Tensor, metric: Tensor | None) -> Tensor:
    """Matrix T, shape (k, k), such that the directions T @ rows are orthonormal."""
    if metric is None:
        basis = group.basis().double().flatten(1)
        metric = basis @ basis.T
    inner = rows @ metric.double() @ rows.T
    values, vectors = torch.linalg.eigh(inner)
    if values[0] <= 1e-12 * values[-1]:
        raise ConventionError(
            expected="independent directions and a positive definite metric",
            got=f"Gram matrix of the directions with eigenvalues {values.tolist()}",
            argument="directions",
            advice="Measure local errors along a basis of the algebra.",
        )
    inverse_root: Tensor = (vectors / values.sqrt()) @ vectors.T
    return inverse_root


def _cluster_weights(
    items: int, clusters: Tensor | None, resamples: int, generator: torch.Generator | None
) -> Tensor:
    """Share of each item in each bootstrap sample of whole clusters, shape (resamples, items)."""
    if clusters is None:
        clusters = torch.arange(items)
    if clusters.shape != (items,):
        raise ShapeError(
            expected=f"one cluster per item, shape ({items},)",
            got=f"shape {tuple(clusters.shape)}",
            argument="clusters",
            advice="Give the same number to items that belong together.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    _, own = clusters.cpu().unique(return_inverse=True)
    count = int(own.max()) + 1
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weight = torch.zeros(resamples, count, dtype=torch.float64)
    weight.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    shares = weight[:, own]
    normalized: Tensor = shares / shares.sum(1, keepdim=True)
    return normalized
