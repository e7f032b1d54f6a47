"""What an oracle is: a batch of leaves, and the paper's formula as loops over single numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from equivariant.losses import Loss, preset


class Leaves:
    """Draws numbers, and remembers those that a gradient is wanted of."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = []

    def __call__(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def leaf(self, *shape):
        self.drawn.append(self(*shape).requires_grad_())
        return self.drawn[-1]


@dataclass(frozen=True)
class Oracle:
    """One preset with settings, its batch, and its value by loops.

    ``batch`` takes leaves and returns sides by name; ``by_loops`` takes them and the loss, whose
    trained numbers it reads, and returns the value.
    """

    batch: Callable
    by_loops: Callable
    settings: dict = field(default_factory=dict)
    slices: tuple = ()


def check(name, oracle, atol=1e-10):
    """Value, and gradients by all leaves and all trained numbers."""
    torch.manual_seed(0)
    found = preset(name, **oracle.settings)
    loss = Loss(found.plan, slices=oracle.slices, order=list(found.sides)).double()
    leaves = Leaves()
    sides = oracle.batch(leaves)
    ours = loss(**sides).total
    theirs = oracle.by_loops(sides, loss)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol * max(1.0, abs(theirs.item())))
    inputs = [*leaves.drawn, *loss.parameters()]
    mine = torch.autograd.grad(ours, inputs, allow_unused=True)
    other = torch.autograd.grad(theirs, inputs, allow_unused=True)
    assert any(g is not None and bool(g.abs().sum() > 0) for g in mine)
    for x, y, like in zip(mine, other, inputs, strict=True):
        x = torch.zeros_like(like) if x is None else x
        y = torch.zeros_like(like) if y is None else y
        torch.testing.assert_close(x, y, rtol=atol, atol=atol * max(1.0, y.abs().max().item()))
    return ours.item()


def draw(*shape, seed=0):
    """A leaf of standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def agree(ours, theirs, inputs):
    """Values and gradients of two graphs are the same."""
    assert abs((ours - theirs).item()) < 1e-10
    pairs = zip(
        torch.autograd.grad(ours, inputs, retain_graph=True),
        torch.autograd.grad(theirs, inputs),
        strict=True,
    )
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


def cos(u, v):
    return (u * v).sum() / ((u * u).sum().sqrt() * (v * v).sum().sqrt())


def apart(u, v, unit=True):
    """|u - v|², of unit vectors by default."""
    if unit:
        u, v = u / (u * u).sum().sqrt(), v / (v * v).sum().sqrt()
    return ((u - v) * (u - v)).sum()


def log_sum(terms):
    """log Σ exp, without a shift: the numbers of these tests are small."""
    return sum(term.exp() for term in terms).log()


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def both(sides):
    """All 2N rows of a and b, and the place of each row's partner."""
    a, b = vectors(sides["a"]), vectors(sides["b"])
    n = len(a)
    return [*a, *b], [(i + n) % (2 * n) for i in range(2 * n)]


def vectors(side):
    return side if isinstance(side, torch.Tensor) else side.z


def infonce(a, b, tau, s=cos):
    n = len(a)
    return mean(
        log_sum(s(a[i], b[j]) / tau for j in range(n)) - s(a[i], b[i]) / tau for i in range(n)
    )


def nt_xent(z, partner, tau, s=cos):
    def row(i):
        others = [s(z[i], z[j]) / tau for j in range(len(z)) if j != i]
        return log_sum(others) - s(z[i], z[partner[i]]) / tau

    return mean(row(i) for i in range(len(z)))
