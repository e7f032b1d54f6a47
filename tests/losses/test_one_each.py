"""One positive for each anchor: the short way gives what lists of pairs give."""

from dataclasses import fields, replace

import pytest
import torch

from equivariant.losses import Pairs, Side
from equivariant.losses.contrast.core import contrast, contrast_both
from equivariant.losses.contrast.pairs import Same

ROWS = 300  # products above 256 x 256 are swept


class Listed(Same):
    """Same, without the knowledge that there is one pair each."""

    def entries(self, q, k, most):
        found = super().entries(q, k, most)
        return None if found is None else replace(found, one_each=False)


def sides(scale, more=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(ROWS, 16, generator=generator)
    b = torch.cat([a + torch.randn(a.shape, generator=generator), torch.randn(more, 16)])
    order = torch.randperm(ROWS + more, generator=generator)
    ids = torch.arange(ROWS + more)[order] * 7 - 5
    place = torch.argsort(ids)[:ROWS]
    named = Side.of((scale * a).requires_grad_(), id=ids[place])
    return named, Side.of((scale * b).requires_grad_(), id=ids)


def outcome(run, q, k):
    results = run(q, k)
    results = results if isinstance(results, tuple) else (results,)
    total = sum((r.per_anchor * torch.linspace(0.5, 2.0, len(r.per_anchor))).sum() for r in results)
    gradients = torch.autograd.grad(total, [q.z, k.z])
    return [getattr(r, f.name) for r in results for f in fields(r) if f.name != "gathered"] + [
        *gradients
    ]


@pytest.mark.parametrize("tau", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("settings", [{}, {"pull": "lse"}, {"pull": "sum"}, {"link": "softplus"}])
@pytest.mark.parametrize("both", [True, False])
def test_the_same_values_and_gradients(tau, settings, both):
    q, k = sides(1.0, more=0 if both else 50)
    known, listed = Pairs.same("id"), Listed("id")
    assert known.entries(q, k, 10_000).one_each
    run = contrast_both if both else contrast
    found = outcome(lambda a, b: run(a, b, known, tau=tau, **settings), q, k)
    wanted = outcome(lambda a, b: run(a, b, listed, tau=tau, **settings), q, k)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)


def test_shares_that_vanish_take_the_other_way():
    """Positives at -1 and a negative at 1 with τ 1/200: the positive's share is below 1e-80."""
    a = torch.eye(2).repeat(ROWS // 2, 1)
    b = -a
    q = Side.of(a.clone().requires_grad_(), id=torch.arange(ROWS))
    k = Side.of(torch.cat([b, a[:1]]).requires_grad_(), id=torch.arange(ROWS + 1))
    found = contrast(q, k, Pairs.same("id"), tau=0.005)
    assert torch.isfinite(found.per_anchor).all()
    torch.testing.assert_close(found.per_anchor[0].item(), 400.0, rtol=1e-5, atol=0)
    listed = contrast(q, k, Listed("id"), tau=0.005)
    torch.testing.assert_close(found.per_anchor, listed.per_anchor)


@pytest.mark.parametrize("both", [True, False])
def test_nan_goes_through(both):
    q, k = sides(1.0)
    spoiled = q.z.detach().clone()
    spoiled[3] = torch.nan
    run = contrast_both if both else contrast
    found = run(q.replace(spoiled), k, Pairs.same("id"), tau=0.1)
    there = found[0] if both else found
    assert torch.isnan(there.per_anchor[3])
    assert torch.isfinite(there.per_anchor[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize(
    ("anchors", "candidates", "each"),
    [
        ([0, 1, 2], [2, 1, 0], True),
        ([0, 1, 2], [2, 1, 0, 9], True),
        ([0, 1, 2], [0, 1, 9], False),
        ([0, 1, 1], [0, 1, 2], True),  # two anchors of one candidate
        ([0, 1, 2], [0, 0, 1], False),  # as many pairs as anchors, two of them the first's
        ([], [0], True),
    ],
)
def test_when_there_is_one_each(anchors, candidates, each):
    q, k = (
        Side.of(torch.zeros(len(ids), 2), id=torch.tensor(ids, dtype=torch.int64))
        for ids in (anchors, candidates)
    )
    assert Pairs.same("id").entries(q, k, 100).one_each is each
    assert not Pairs.same("id").not_self().entries(q, k, 100).one_each
