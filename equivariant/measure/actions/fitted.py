"""An action that nobody declared: fitted to how features move, and tested as a representation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.derivative import DerivativeMethod, derivative
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.measure.motions.motion import Motion, as_motion
from equivariant.measure.motions.per_item import moved_dtype
from equivariant.shapes import Float, Matrix
from equivariant.tree import call


@dataclass(frozen=True)
class LinearFit:
    """A linear map between features, and how well it does on items it has not seen.

    Args:
        matrix: M with M z ≈ moved, shape (dim, dim), float64; of least norm, so zero on
            directions in which the features do not vary.
        r2: 1 - Σ |moved - M z|² / Σ |moved - mean|² over held-out items; 0 where held-out
            features do not vary, since then there is nothing to explain.
        null: The same for a map fitted to permuted pairs.
        rank: Numerical rank of the training features.
    """

    matrix: Tensor
    r2: float
    null: float
    rank: int


def fit_action(
    z: Float[Tensor, "items dim"],
    moved: Float[Tensor, "items dim"],
    *,
    orthogonal: bool = False,
    ridge: float = 1e-10,
    held_out: float = 0.5,
    clusters: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LinearFit:
    """Fit the linear map that takes the features of items to those of the moved items.

        M = argmin Σ |moved - M z|² + λ |M|²,   or over orthogonal M (Procrustes): M = U Vᵀ of
        the singular value decomposition of Σ moved zᵀ

    Args:
        z: Features f(x), shape (items, dim).
        moved: Features f(g x) for one g, shape (items, dim).
        orthogonal: Whether M must preserve lengths.
        ridge: λ in units of the largest squared singular value of the training features, at
            least 0. It makes M finite and of least norm where features are constant, dependent,
            or more than items.
        held_out: Share of items, or of clusters, that are not fitted, in (0, 1).
        clusters: Which items belong together, shape (items,), int64; whole clusters are held
            out. None: items are independent.
        generator: Source of the split and the permutation; None uses a fresh one with seed 0.

    Raises:
        ShapeError: The shapes differ, or no item is left to fit or to hold out.

    Example:
        >>> z = torch.randn(40, 3, dtype=torch.float64)
        >>> quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
        >>> found = fit_action(z, z @ quarter.T)
        >>> bool(torch.allclose(found.matrix, quarter)), found.r2 > 0.999
        (True, True)
    """
    train = _split(z, moved, held_out, clusters, generator)
    return _fit(z, moved, train, orthogonal=orthogonal, ridge=ridge, generator=generator)


@dataclass(frozen=True)
class FittedAction:
    """What :func:`fit_representation` found, for k pairs of elements and d basis elements.

    Args:
        r2: Held-out R² of the fits to the pairs' g, h and gh, shape (k, 3), float64.
        null: The same with permuted pairs of items.
        homomorphism: |M_g M_h - M_gh| / |M_gh| in Frobenius norms, shape (k,).
        generators: B_X with d/dt f(exp(tX) x) ≈ B_X f(x), shape (d, dim, dim).
        generator_r2: Held-out R² of each, shape (d,); 0 where the features do not change.
        bracket: max over pairs of |[B_X, B_Y] - B_[X,Y]| / (|B_X| |B_Y|); 0 for d < 2.
        exponential: |exp(s B_X) - M_exp(sX)| / |M_exp(sX)| for each basis element, on the
            directions in which features vary, shape (d,).
        rank: Numerical rank of the features.
        dim: Number of features.
    """

    r2: Tensor
    null: Tensor
    homomorphism: Tensor
    generators: Tensor
    generator_r2: Tensor
    bracket: float
    exponential: Tensor
    rank: int
    dim: int

    def __str__(self) -> str:
        return (
            f"linear action: held-out R² {float(self.r2.min()):.4f} worst "
            f"(permuted {float(self.null.max()):.4f}); homomorphism "
            f"{float(self.homomorphism.max()):.1e}, bracket {self.bracket:.1e}; "
            f"rank {self.rank} of {self.dim}"
        )


def fit_representation(
    f: Callable[[Any], Tensor],
    x: Any,
    *,
    act_in: Any,
    group: Group | None = None,
    elements: tuple[Matrix, Matrix] | None = None,
    pairs: int = 4,
    step: float = 0.5,
    orthogonal: bool = False,
    ridge: float = 1e-10,
    held_out: float = 0.5,
    clusters: Tensor | None = None,
    method: DerivativeMethod = "forward",
    generator: torch.Generator | None = None,
) -> FittedAction:
    """Find out whether the features of a map move linearly, and whether as a representation.

    For pairs (g, h) three maps M_g, M_h, M_gh are fitted from f(x) to the features of the moved
    input, each on its own, and M_g M_h is compared with M_gh. For each basis element X of the
    algebra, B_X is fitted from f(x) to d/dt f(exp(tX) x).

    High R² says that there is a linear action; the residuals say that it is one of the group.

    Args:
        f: Deterministic map to one tensor, whose first axis runs over items; the rest is
            flattened to dim features. Use several times dim items.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
        group: The group, where the action is a plain function.
        elements: The pairs (g, h), two tensors of shape (k, n, n); None draws them.
        pairs: Number of pairs to draw, at least 1.
        step: s, the length in the algebra at which exp(s B_X) is compared with M_exp(sX).
        orthogonal: Whether the M must preserve lengths.
        ridge: As in :func:`fit_action`.
        held_out: As in :func:`fit_action`.
        clusters: As in :func:`fit_action`.
        method: How d/dt is taken.
        generator: Source of pairs, split and permutation; None uses a fresh one with seed 0.

    Raises:
        ConventionError: The action has no group, or f does not return one tensor.
        ShapeError: No item is left to fit or to hold out.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> x = torch.randn(60, 3, dtype=torch.float64)
        >>> mix = torch.tensor([[2.0, 1, 0], [0, 1, 0], [1, 0, 3]], dtype=torch.float64)
        >>> found = fit_representation(lambda x: x @ mix, x, act_in=Vectors(SO3()))
        >>> bool(found.r2.min() > 0.999), bool(found.homomorphism.max() < 1e-6)
        (True, True)
    """
    motion = as_motion(act_in, group)
    group = _checked_group(motion, call(f, x))
    generator = generator or torch.Generator().manual_seed(0)
    if elements is None:
        elements = (group.sample(pairs, generator=generator),
                    group.sample(pairs, generator=generator))  # fmt: skip

    def features(g: Tensor) -> Tensor:
        moved: Tensor = call(f, motion.move(g, x)).flatten(1)
        return moved

    with torch.no_grad():
        z = call(f, x).flatten(1).detach().double()
        train = _split(z, z, held_out, clusters, generator)

        def fit(target: Tensor, orthogonal: bool = orthogonal) -> LinearFit:
            return _fit(z, target.double(), train, orthogonal=orthogonal, ridge=ridge,
                        generator=generator)  # fmt: skip

        triples = [
            [fit(features(element.to(z.device))) for element in (g, h, g @ h)]
            for g, h in zip(*elements, strict=True)
        ]
        basis = torch.eye(group.dim, dtype=torch.float64, device=z.device)
        steps = [fit(features(group.exp(step * X))) for X in basis]
    slopes = [fit(value, False) for value in _slopes(features, group, basis, motion, x, method)]
    B = torch.stack([s.matrix for s in slopes]) if slopes else z.new_zeros(0, *2 * z.shape[1:])
    return FittedAction(
        r2=_table(triples, "r2"),
        null=_table(triples, "null"),
        homomorphism=torch.stack(
            [_relative(g.matrix @ h.matrix, gh.matrix) for g, h, gh in triples]
        ),
        generators=B,
        generator_r2=torch.tensor([s.r2 for s in slopes], dtype=torch.float64),
        bracket=bracket_residual(group, B),
        exponential=_exponential(B, steps, z[train], step),
        rank=triples[0][0].rank,
        dim=z.shape[1],
    )


def bracket_residual(group: Group, B: Float[Tensor, "d dim dim"]) -> float:
    """max over pairs of basis elements of |[B_X, B_Y] - B_[X,Y]| / (|B_X| |B_Y|).

    Args:
        group: The group, whose basis the matrices belong to.
        B: One matrix per basis element, shape (group.dim, dim, dim).

    Returns:
        0 for a representation of the algebra, and where all pairs vanish.

    Example:
        >>> from equivariant.groups import SO3
        >>> bracket_residual(SO3(), SO3().basis())
        0.0
    """
    worst, basis = 0.0, group.basis().to(B)
    norms = B.flatten(1).norm(dim=1)
    for a in range(group.dim):
        for b in range(a):
            coordinates = group.vee(basis[a] @ basis[b] - basis[b] @ basis[a])
            expected = torch.einsum("d,dij->ij", coordinates, B)
            gap = float((B[a] @ B[b] - B[b] @ B[a] - expected).norm())
            size = float(norms[a] * norms[b])
            worst = max(worst, gap / size if size > 0 else gap)
    return worst


def _checked_group(motion: Motion, y: Any) -> Group:
    if motion.group is None or not isinstance(y, Tensor):
        raise ConventionError(
            expected="an action of a group on x, and a map to one tensor",
            got=f"{motion.group}, {type(y).__name__}",
            argument="act_in" if motion.group is None else "f",
            advice="Wrap f to return the features that are asked about.",
        )
    return motion.group


def _slopes(
    features: Callable[[Tensor], Tensor],
    group: Group,
    basis: Tensor,
    motion: Motion,
    x: Any,
    method: DerivativeMethod,
) -> list[Tensor]:
    """d/dt f(exp(tX) x) for each X."""
    precision, device = moved_dtype(motion, x)

    def along(X: Tensor) -> Tensor:
        return derivative(
            lambda t: {"": features(group.exp(t * X))},
            method=method,
            precision=precision,
            device=device,
        )[""]

    return [along(X) for X in basis]


def _fit(
    z: Tensor,
    moved: Tensor,
    train: Tensor,
    *,
    orthogonal: bool,
    ridge: float,
    generator: torch.Generator | None,
) -> LinearFit:
    z, moved = z.detach().double(), moved.detach().double()
    test = ~train
    generator = generator or torch.Generator().manual_seed(0)
    order = torch.randperm(int(train.sum()), generator=generator).to(z.device)
    values = torch.linalg.svdvals(z[train])
    found = _solve(z[train], moved[train], orthogonal, ridge)
    shuffled = _solve(z[train], moved[train][order], orthogonal, ridge)
    limit = values.max() * max(z[train].shape) * torch.finfo(torch.float64).eps
    return LinearFit(
        matrix=found,
        r2=_r2(z[test] @ found.T, moved[test]),
        null=_r2(z[test] @ shuffled.T, moved[test]),
        rank=int((values > limit).sum()),
    )


def _solve(z: Tensor, moved: Tensor, orthogonal: bool, ridge: float) -> Tensor:
    if orthogonal:
        left, _, right = torch.linalg.svd(moved.T @ z)
        rotation: Tensor = left @ right
        return rotation
    left, values, right = torch.linalg.svd(z, full_matrices=False)
    penalty = max(ridge, 1e-30) * values.max().square()
    weight = torch.where(values > 0, values / (values.square() + penalty), 0.0)
    solution: Tensor = (moved.T @ left) * weight @ right
    return solution


def _split(
    z: Tensor,
    moved: Tensor,
    held_out: float,
    clusters: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Which items are fitted, shape (items,), bool; whole clusters go to one side."""
    if z.ndim != 2 or z.shape != moved.shape:
        raise ShapeError(
            expected="two tensors of features of one shape (items, dim)",
            got=f"shapes {tuple(z.shape)} and {tuple(moved.shape)}",
            argument="moved",
            advice="Row i of both belongs to item i.",
        )
    own = (
        torch.arange(len(z)) if clusters is None else clusters.cpu().unique(return_inverse=True)[1]
    )
    count = int(own.max()) + 1 if len(own) else 0
    fitted = count - round(held_out * count)
    if len(own) != len(z) or not 0 < fitted < count:
        raise ShapeError(
            expected="one cluster per item, and clusters on both sides of the split",
            got=f"{len(z)} items, {count} clusters, of which {fitted} are fitted",
            argument="clusters" if clusters is not None else "z",
            advice="Give more items, or held_out near 0.5.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=generator)[:fitted]] = True
    return chosen[own].to(z.device)


def _exponential(B: Tensor, steps: list[LinearFit], z: Tensor, step: float) -> Tensor:
    """Disagreement of exp(s B) and M on the span of the features."""
    _, values, rows = torch.linalg.svd(z, full_matrices=False)
    limit = values.max() * max(z.shape) * torch.finfo(torch.float64).eps
    span = rows[values > limit].T
    found = [
        _relative(torch.linalg.matrix_exp(step * b) @ span, fit.matrix @ span)
        for b, fit in zip(B, steps, strict=True)
    ]
    return torch.stack(found) if found else z.new_zeros(0)


def _r2(prediction: Tensor, target: Tensor) -> float:
    variance = float((target - target.mean(0)).square().sum())
    floor = 1e-24 * float(target.square().sum())
    return 1 - float((target - prediction).square().sum()) / variance if variance > floor else 0.0


def _relative(a: Tensor, b: Tensor) -> Tensor:
    ratio: Tensor = (a - b).norm() / b.norm().clamp(min=1e-300)
    return ratio


def _table(triples: list[list[LinearFit]], field: str) -> Tensor:
    rows = [[getattr(fit, field) for fit in triple] for triple in triples]
    return torch.tensor(rows, dtype=torch.float64)
