"""Descent of an energy on a matrix group, one element per item, from several starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix, Scalar

ElementEnergy = Callable[[Matrix, Tensor], Scalar]
"""Energies (k,) of elements (k, n, n) and of the items, int64 (k,), that they belong to."""


@dataclass(frozen=True)
class DescentConfig:
    """How far and how carefully to descend.

    Args:
        steps: Evaluations of the energy and its gradient after the first, at least 0; 0 leaves
            the best start.
        length: Length of the first step in coordinates of the algebra, positive.
        kept: Starts of each item that are descended from, those of least energy, at least 1.
    """

    steps: int = 20
    length: float = 0.2
    kept: int = 2

    def __post_init__(self) -> None:
        if self.steps < 0 or self.kept < 1 or not self.length > 0:
            raise ConventionError(
                expected="steps of at least 0, a positive length, and at least one start kept",
                got=str(self),
                argument="config",
                advice="Twenty steps from the two best starts suit digits.",
            )


GROW, SHRINK = 2.0, 0.4


def descend(
    energy: ElementEnergy,
    group: Group,
    starts: Float[Tensor, "starts n n"],
    *,
    items: int,
    config: DescentConfig | None = None,
) -> tuple[Matrix, Scalar]:
    """Elements of least energy that are found, and their energies.

        g ← g exp(x),   x = -B ∇ cut to length ℓ,   ∇_k = d/dt E(g exp(t X_k)) at t = 0

    along the generators X_k, left-trivialised: coordinates are those of the moving frame. B is
    the inverse Hessian as the BFGS rule builds it from the gradients seen so far, a multiple of
    the identity at first. A step that lowers the energy is taken and ℓ grows to twice its length
    at least; another is not taken and ℓ shrinks to 0.4 of its length. So energies never rise, the
    scale of E does not matter, and nothing is random: the same items give the same elements.

    Every start is evaluated once and the best ``kept`` of each item are followed; which local
    minimum is found depends on them. Only with enough starts is it the global one, and only
    then does the result move with the item.

    Args:
        energy: Treats each of its k elements by itself; differentiable by the elements.
        group: Whose generators are followed.
        starts: Elements, shape (starts, n, n), at least one; the same for every item. Their dtype
            and device are those of the search.
        items: Number of items, at least 0.
        config: Steps; None takes the default.

    Returns:
        Elements, shape (items, n, n), and energies, shape (items,), without gradients.

    Raises:
        ConventionError: No start.
        ShapeError: Starts are no elements' matrices.

    Example:
        >>> from equivariant.groups import SO2
        >>> target = SO2().exp(torch.tensor([[1.0]], dtype=torch.float64))
        >>> energy = lambda g, item: (g - target).square().sum((1, 2))
        >>> found, _ = descend(energy, SO2(), SO2().identity(1), items=1)
        >>> bool((found - target).abs().max() < 1e-3)
        True

    Source: the idea of Shumaylov et al. 2024 (arXiv 2410.02698); BFGS: Nocedal and Wright 2006,
    equations 6.17 and 6.20. The cut is ours.
    """
    config = config or DescentConfig()
    group.check_element(starts, "starts")
    if starts.ndim != 3 or not len(starts):
        raise ConventionError(
            expected="at least one start, shape (starts, n, n)",
            got=f"shape {tuple(starts.shape)}",
            argument="starts",
            advice="group.identity(1) is the least.",
        )
    kept = min(config.kept, len(starts))
    g, item = _best_starts(energy, starts, items, kept)
    value, gradient = _slope(energy, group, g, item)
    length = torch.full_like(value, config.length)
    inverse = _Curvature(gradient, config.length)
    for _ in range(config.steps):
        x = _cut(inverse.direction(gradient), length)
        tried = g @ group.exp(x)
        tried_value, tried_gradient = _slope(energy, group, tried, item)
        inverse.learn(x, tried_gradient - gradient)
        lower = tried_value < value
        size = torch.linalg.vector_norm(x, dim=-1)
        length = torch.where(lower, torch.maximum(length, GROW * size), SHRINK * size)
        g = torch.where(lower[:, None, None], tried, g)
        value = torch.where(lower, tried_value, value)
        gradient = torch.where(lower[:, None], tried_gradient, gradient)
    best = value.reshape(items, kept).argmin(1)
    rows = torch.arange(items, device=g.device)
    return g.unflatten(0, (items, kept))[rows, best], value.reshape(items, kept)[rows, best]


class _Curvature:
    """Inverse Hessians B of all items, symmetric and positive definite.

        B ← (I - ρ s yᵀ) B (I - ρ y sᵀ) + ρ s sᵀ,   ρ = 1 / (y·s),

    for a step s along which the gradient changed by y, where y·s > 0. A step that was not taken
    tells of the curvature too.

    Args:
        gradient: At the starts, shape (k, d).
        length: Of a first step along it.
    """

    def __init__(self, gradient: Tensor, length: float) -> None:
        k, d = gradient.shape
        norm = torch.linalg.vector_norm(gradient, dim=-1)
        usable = (norm > 0) & norm.isfinite()
        self.eye = torch.eye(d).to(gradient).expand(k, d, d)
        self.matrix = (
            torch.where(usable, length / torch.where(usable, norm, 1.0), 0.0)[:, None, None]
            * self.eye
        )
        self.fresh = torch.ones_like(usable)

    def direction(self, gradient: Tensor) -> Tensor:
        """-B ∇, shape (k, d)."""
        return -(self.matrix @ gradient.unsqueeze(-1)).squeeze(-1)

    def learn(self, step: Tensor, change: Tensor) -> None:
        """Take in what a step showed, where it is finite and curves upward."""
        product = (step * change).sum(-1)
        sizes = torch.linalg.vector_norm(step, dim=-1) * torch.linalg.vector_norm(change, dim=-1)
        usable = (product > 1e-4 * sizes) & sizes.isfinite()
        change = torch.where(usable[:, None], change, 0.0)
        product = torch.where(usable, product, 1.0)
        # The first curvature that is seen sets the scale of all directions.
        scale = product / torch.where(usable, change.square().sum(-1), 1.0)
        before = torch.where(
            self.fresh[:, None, None], scale[:, None, None] * self.eye, self.matrix
        )
        left = self.eye - step[:, :, None] * change[:, None, :] / product[:, None, None]
        outer = step[:, :, None] * step[:, None, :] / product[:, None, None]
        after = left @ before @ left.transpose(1, 2) + outer
        self.matrix = torch.where(usable[:, None, None], after, self.matrix)
        self.fresh = self.fresh & ~usable


def _cut(x: Tensor, length: Tensor) -> Tensor:
    """x, shortened to a length where it is longer; 0 where it is not finite."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    usable = (norm > 0) & norm.isfinite()
    share = (length[:, None] / torch.where(usable, norm, 1.0)).clamp(max=1.0)
    return torch.where(usable, share * x, 0.0)


def _best_starts(
    energy: ElementEnergy, starts: Tensor, items: int, kept: int
) -> tuple[Tensor, Tensor]:
    """The ``kept`` starts of least energy of every item, and the items' numbers."""
    numbers = torch.arange(items, device=starts.device)
    if kept < len(starts):
        with torch.no_grad():
            values = torch.stack([energy(s.expand(items, -1, -1), numbers) for s in starts], 1)
        chosen = values.sort(dim=1, stable=True).indices[:, :kept]  # ties go to the earlier start
    else:
        chosen = torch.arange(kept, device=starts.device).expand(items, -1)
    return starts[chosen.flatten()], numbers.repeat_interleave(kept)


def _slope(energy: ElementEnergy, group: Group, g: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """Energies, shape (k,), and their derivatives along the generators, shape (k, dim).

    At zero exp is hat: d/dx E(g exp(x)) = d/dx E(g (1 + hat x)) there.
    """
    with torch.enable_grad():
        x = g.new_zeros(len(g), group.dim).requires_grad_()
        value = energy(g + g @ group.hat(x), item)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
