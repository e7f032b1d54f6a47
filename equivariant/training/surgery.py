"""Gradients of several losses that pull one embedding apart: found, and made to agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.shapes import Float


def conflict(gradients: Sequence[Tensor]) -> Float[Tensor, n]:
    """The smallest cosine between two losses' gradients, row by row.

        c_i = min_{a < b} cos(g_a,i, g_b,i)

    Below 0 a step along one raises the other. Rows for which losses that should agree do not, as
    of mismatched examples, have low values. A gradient of 0 is in conflict with none: its cosines
    are 0.

    Args:
        gradients: One per loss, at least two, of one shape (N, ...).

    Returns:
        Cosines, shape (N,), in [-1, 1].

    Raises:
        ShapeError: There are fewer than two, or their shapes differ.

    Example:
        >>> east, up_west = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
        >>> [round(c, 4) for c in conflict([east, up_west]).tolist()]
        [-0.7071]

    Source: Wu et al. 2022, "Scaling multimodal pre-training via cross-modality gradient
    harmonization"; the smallest over pairs is ours.
    """
    rows = _rows(gradients)
    cosines = [_cosine(a, b) for a, b in itertools.combinations(rows, 2)]
    return torch.stack(cosines).amin(0)


def harmonized(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Each loss's gradient without what opposes the others', row by row.

        for every other b with ⟨g, g_b⟩ < 0:    g ← g - ⟨g, g_b⟩ / |g_b|² g_b

    beginning with g = g_a; the others are taken as they came, in their order. Of two losses both
    results are orthogonal to the other's gradient; rows without conflict stay as they are.

    Args:
        gradients: One per loss, at least two, of one shape (N, ...).

    Returns:
        As many gradients of the same shape.

    Raises:
        ShapeError: There are fewer than two, or their shapes differ.

    Example:
        >>> east, up_west = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
        >>> harmonized([east, up_west])[0].tolist(), harmonized([east, up_west])[1].tolist()
        ([[0.5, 0.5]], [[0.0, 1.0]])

    Source: Yu et al. 2020, algorithm 1, in a fixed order; per example as in Wu et al. 2022.
    """
    rows = _rows(gradients)
    results = []
    for place, own in enumerate(rows):
        g = own
        for other_place, other in enumerate(rows):
            if other_place != place:
                against, square = (g * other).sum(1), other.square().sum(1)
                opposed = (against < 0) & (square > 0)
                share = torch.where(opposed, against / torch.where(opposed, square, 1.0), 0.0)
                g = g - share[:, None] * other
        results.append(g.view_as(gradients[place]).to(gradients[place].dtype))
    return results


def _rows(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Rows in float32 or wider, of at least two losses."""
    shapes = {tuple(g.shape) for g in gradients}
    if len(gradients) < 2 or len(shapes) > 1 or () in shapes:
        raise ShapeError(
            expected="gradients of two losses or more, of one shape (N, ...)",
            got=", ".join(str(tuple(g.shape)) for g in gradients) or "none",
            argument="gradients", advice="Take them by the same embeddings.",
        )  # fmt: skip
    wide = [g.detach().to(torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    return [g.reshape(len(g), -1) for g in wide]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of rows, scaled first, so that tiny gradients do not underflow; 0 of zero rows."""
    u, v = (x / torch.where(m > 0, m, 1.0) for x, m in ((a, _most(a)), (b, _most(b))))
    lengths = u.norm(dim=1) * v.norm(dim=1)
    cosine = (u * v).sum(1) / torch.where(lengths > 0, lengths, 1.0)
    return cosine.clamp(-1.0, 1.0)


def _most(x: Tensor) -> Tensor:
    return x.abs().amax(1, keepdim=True) if x.shape[1] else x.sum(1, keepdim=True)
