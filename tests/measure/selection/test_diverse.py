"""Contrastive search by loops, and its limits."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.measure.selection.diverse import contrastive_choice, select_diverse


def drawn(seed=0, rows=12):
    source = torch.Generator().manual_seed(seed)
    p = torch.rand(rows, generator=source, dtype=torch.float64)
    return p, torch.randn(rows, 4, generator=source, dtype=torch.float64)


def cos(a, b):
    return float((a @ b) / (a.norm() * b.norm()))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("top", [None, 1, 4, 99])
def test_a_step_by_loops(alpha, top):
    p, h = drawn()
    context = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    considered = sorted(range(12), key=lambda v: -p[v])[:top]
    scores = {
        v: (1 - alpha) * float(p[v]) - alpha * max(cos(h[v], c) for c in context)
        for v in considered
    }
    best = max(scores, key=scores.get)
    assert contrastive_choice(p, h, context, alpha=alpha, top=top) == best


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_a_selection_is_that_many_steps(alpha):
    p, h = drawn()
    chosen, left = [], list(range(12))
    for _ in range(6):
        step = contrastive_choice(p[left], h[left], h[chosen], alpha=alpha)
        chosen.append(left.pop(step))
    assert select_diverse(p, h, 6, alpha=alpha).tolist() == chosen


def test_limits():
    p, h = drawn()
    greedy = p.argsort(descending=True)[:5].tolist()
    assert select_diverse(p, h, 5, alpha=0.0).tolist() == greedy
    none = h[:0]
    assert contrastive_choice(p, h, none) == greedy[0]
    # likeness alone: what lies opposite the context wins whatever its confidence
    h[7] = -h[2]
    assert contrastive_choice(p, h, h[2:3], alpha=1.0) == 7
    assert sorted(select_diverse(p, h, 12).tolist()) == list(range(12))


def test_twin_with_the_mean_likeness_is_told_apart():
    """A copy of one of many in the context is refused by the greatest, not by the mean likeness."""
    h = torch.eye(4)
    p = torch.tensor([0.5, 0.0, 0.0, 0.3])
    context = h[:3]
    mean = 0.4 * p - 0.6 * (h @ context.T).mean(1)
    assert mean.argmax() == 3 and contrastive_choice(p, h, context, alpha=0.6) == 3
    p = torch.tensor([0.9, 0.0, 0.0, 0.3])
    mean = 0.4 * p - 0.6 * (h @ context.T).mean(1)
    assert mean.argmax() == 0 and contrastive_choice(p, h, context, alpha=0.6) == 3


def test_scale_and_rotation_of_embeddings_change_nothing():
    p, h = drawn()
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert select_diverse(p, 3 * h @ turn, 6).tolist() == select_diverse(p, h, 6).tolist()


def test_a_decoder_leaves_a_loop():
    """A model that always prefers to stay stays for ever by confidence alone."""
    states = torch.eye(5)
    p = 0.1 * torch.ones(5, 5) + 0.5 * torch.eye(5)
    walks = {}
    for alpha in (0.0, 0.6):
        walk = [0]
        for _ in range(4):
            walk.append(contrastive_choice(p[walk[-1]], states, states[walk], alpha=alpha))
        walks[alpha] = walk
    assert walks == {0.0: [0, 0, 0, 0, 0], 0.6: [0, 1, 2, 3, 4]}


@pytest.mark.parametrize(
    "settings", [{"alpha": -0.1}, {"alpha": 1.1}, {"top": 0}, {"alpha": float("nan")}]
)
def test_refusals(settings):
    p, h = drawn()
    with pytest.raises(EquivariantError):
        contrastive_choice(p, h, h, **settings)
    with pytest.raises((EquivariantError, TypeCheckError)):
        contrastive_choice(p, h, h[:, :2])
    with pytest.raises((EquivariantError, TypeCheckError)):
        contrastive_choice(p[:3], h, h)
    for count in (0, 13):
        with pytest.raises(EquivariantError):
            select_diverse(p, h, count)
