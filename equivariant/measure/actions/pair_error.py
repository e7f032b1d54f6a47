"""How far an action is from explaining pairs, where the input was moved by a renderer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.shapes import Float, Matrix


@dataclass(frozen=True)
class PairError:
    """Errors of an action on given pairs, one entry per pair.

    Args:
        relative: |ρ(g) z_a - z_b|₂ / ((|ρ(g) z_a|₂ + |z_b|₂) / 2), shape (N,), float64, in [0, 2].
        unmoved: The same without the action: what a map that ignores g would show.
        shuffled: The same against another pair's z_b, a reference for unrelated vectors.
        cosine: Cosine between ρ(g) z_a and z_b, shape (N,), float64.
    """

    relative: Tensor
    unmoved: Tensor
    shuffled: Tensor
    cosine: Tensor


def pair_error(
    action: Action, z_a: Float[Tensor, "pairs dim"], z_b: Float[Tensor, "pairs dim"], g: Matrix
) -> PairError:
    """Measure an action where the input cannot be moved by formula but was rendered again.

    Args:
        action: How g moves an embedding.
        z_a: Embeddings of first views, shape (N, dim).
        z_b: Embeddings of second views, shape (N, dim), which show g applied.
        g: Elements, shape (N, n, n).

    Raises:
        ShapeError: The shapes do not fit the action.
        ConventionError: An embedding is not finite, before or after it is moved.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> g = SO3().sample(8, generator=torch.Generator().manual_seed(0))
        >>> z = torch.randn(8, 3, dtype=torch.float64)
        >>> moved = (g @ z.unsqueeze(-1)).squeeze(-1)
        >>> bool(pair_error(Vectors(SO3()), z, moved, g).relative.max() < 1e-12)
        True
    """
    for name, z in (("z_a", z_a), ("z_b", z_b)):
        check_finite(z, name, rows="pairs")
    with torch.no_grad():
        moved = action(g, z_a).double()
    check_finite(moved, "action(g, z_a)", rows="pairs")
    z_a, z_b = z_a.detach().double(), z_b.detach().double()
    return PairError(
        relative=_symmetric(moved, z_b),
        unmoved=_symmetric(z_a, z_b),
        shuffled=_symmetric(moved, z_b.roll(1, 0)),
        cosine=torch.nn.functional.cosine_similarity(moved, z_b, dim=-1),
    )


def _symmetric(left: Tensor, right: Tensor) -> Tensor:
    norm = 0.5 * (left.norm(dim=-1) + right.norm(dim=-1))
    error: Tensor = (left - right).norm(dim=-1) / norm.clamp(min=1e-300)
    return error
