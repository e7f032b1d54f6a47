"""Whether draws follow the invariant law of a compact group: a test by its characters."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from equivariant.shapes import Float, Matrix

FALSE_ALARMS = 1e-6
"""How often correct draws are refused, over seeds, by the normal approximation."""


def invariance_scores(
    g: Matrix, moves: Matrix, *, frequencies: int = 12, seed: int = 0
) -> Float[Tensor, ...]:
    """How many standard errors the law of draws differs from that of the moved draws.

    Haar measure is the only law with E f(h g) = E f(g) = E f(g h) for every h and f. Asked are
    the first moments of the defining matrices, f(g) = g_ij, their squares, and the
    characteristic function of the entries, cos⟨w, g⟩ and sin⟨w, g⟩ at random w of length 1 to
    8: two laws of bounded matrices that agree at every w are equal.

    Args:
        g: Draws, shape (N, n, n), float64; N of some thousands.
        moves: Elements h, shape (m, n, n), at least 1.
        frequencies: Number of w.
        seed: Of w.

    Returns:
        |mean| / standard error of f(h g) - f(g) and of f(g h) - f(g), for every h and f; 0 where
        both are 0.
    """
    generator = torch.Generator().manual_seed(seed)
    n = g.shape[-1]
    w = torch.randn(frequencies, n * n, generator=generator, dtype=torch.float64)
    lengths = torch.logspace(0, 3, frequencies, base=2.0, dtype=torch.float64)
    w = w / w.norm(dim=-1, keepdim=True) * lengths[:, None]

    def features(x: Tensor) -> Tensor:
        entries = x.flatten(-2)
        phase = entries @ w.T
        return torch.cat([entries, entries.square(), phase.cos(), phase.sin()], -1)

    here = features(g)
    scores = []
    for h in moves:
        for moved in (h @ g, g @ h):
            change = features(moved) - here
            error = change.std(0) / math.sqrt(len(g))
            scores.append(change.mean(0).abs() / (error + 1e-12))
    return torch.cat(scores)


def refusal_bound(tests: int, false_alarms: float = FALSE_ALARMS) -> float:
    """Standard errors that the largest of so many scores exceeds with that probability at most.

    Example:
        >>> round(refusal_bound(1, 0.05), 2), 5 < refusal_bound(1000) < 7
        (1.96, True)
    """
    return -NormalDist().inv_cdf(0.5 * false_alarms / tests)
