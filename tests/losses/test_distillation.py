"""Divergences from a teacher by loops, their limits, and weights by difficulty."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.losses.distillation import difficulty, embedding_distance, similarity_divergence


def drawn(rows=7, width=4, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=source, dtype=torch.float64)


def cos(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def by_loops(s, t, tau, tau_teacher, hardest):
    found = []
    for i in range(len(s)):
        others = [j for j in range(len(s)) if j != i]
        others = sorted(others, key=lambda j: -cos(t[i], t[j]))[:hardest]
        p = [math.exp(cos(t[i], t[j]) / tau_teacher) for j in others]
        q = [math.exp(cos(s[i], s[j]) / tau) for j in others]
        found.append(
            sum(
                a / sum(p) * (math.log(a / sum(p)) - math.log(b / sum(q)))
                for a, b in zip(p, q, strict=True)
            )
        )
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("hardest", [None, 1, 3, 99])
@pytest.mark.parametrize("tau_teacher", [None, 0.3])
def test_similarity_divergence_by_loops(hardest, tau_teacher):
    s, t = drawn(), drawn(width=6, seed=1)
    ours = similarity_divergence(s, t, tau=0.2, tau_teacher=tau_teacher, hardest=hardest)
    expected = by_loops(s, t, 0.2, tau_teacher or 0.2, hardest)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    twin = by_loops(t, s, tau_teacher or 0.2, 0.2, hardest)  # the divergence the other way round
    if hardest != 1:
        assert not torch.allclose(ours, twin, atol=1e-3)


def test_similarity_divergence_sees_similarities_alone():
    s, t = drawn(), drawn(seed=1)
    turn = torch.linalg.qr(drawn(4, 4, 2)).Q
    torch.testing.assert_close(
        similarity_divergence(3 * s @ turn, t), similarity_divergence(s, t @ turn)
    )
    assert similarity_divergence(t @ turn, t).abs().max() < 1e-12
    assert (similarity_divergence(s, t, hardest=1) == 0).all()  # one candidate is certain


def test_gradients():
    s, t = drawn(5).requires_grad_(), drawn(5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: similarity_divergence(x, t, hardest=2), s)
    assert torch.autograd.gradcheck(lambda x: embedding_distance(x, t), s)
    assert not torch.autograd.grad(embedding_distance(s, t).sum(), t, allow_unused=True)[0]
    alone = similarity_divergence(s[:1], t[:1])
    assert alone.tolist() == [0.0]
    alone.sum().backward()
    assert (s.grad == 0).all()


def test_embedding_distance():
    s, t = drawn(), drawn(seed=1)
    expected = [2 - 2 * cos(a, b) for a, b in zip(s, t, strict=True)]
    torch.testing.assert_close(embedding_distance(s, t), torch.tensor(expected).double())
    torch.testing.assert_close(embedding_distance(s, -s), torch.full((7,), 4.0).double())


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_difficulty_by_loops(power):
    s, t = drawn(), drawn(seed=1)
    missing = []
    for i in range(7):
        row = [math.exp(cos(s[i], t[j]) / 0.3) for j in range(7)]
        missing.append((1 - row[i] / sum(row)) ** power)
    expected = torch.tensor(missing).double() * 7 / sum(missing)
    ours = difficulty(s, t, tau=0.3, power=power)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert float(ours.mean()) == pytest.approx(1.0)


def test_difficulty_at_its_limits():
    eye = torch.eye(4)
    assert difficulty(eye, eye, tau=1e-3).tolist() == [1.0] * 4  # all found: none is harder
    wrong = eye[[1, 0, 2, 3]]
    torch.testing.assert_close(difficulty(wrong, eye, tau=0.01), torch.tensor([2.0, 2.0, 0, 0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda s: similarity_divergence(s, s, tau=0.0), lambda s: similarity_divergence(s, s[:2]),
        lambda s: similarity_divergence(s, s, tau_teacher=-1.0),
        lambda s: similarity_divergence(s, s, hardest=0), lambda s: embedding_distance(s, s[:, :2]),
        lambda s: difficulty(s, s, tau=math.inf), lambda s: difficulty(s, s, power=-1.0),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises((EquivariantError, TypeCheckError)):
        call(drawn())
