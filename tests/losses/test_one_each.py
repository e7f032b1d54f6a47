"""One positive for each anchor: the short way gives what lists of pairs give."""

from dataclasses import fields, replace

import pytest
import torch

from equivariant.losses import Pairs, Side
from equivariant.losses.contrast.core import contrast, contrast_both
from equivariant.losses.contrast.pairs import Same, matches
from equivariant.losses.contrast.similarity import Dot, unit
from equivariant.losses.contrast.statistics import PairSigmoid

ROWS = 300  # products above 256 x 256 are swept


class Listed(Same):
    """Same, without the knowledge that there is one pair each."""

    def entries(self, q, k, most):
        found = super().entries(q, k, most)
        return None if found is None else replace(found, one_each=False)


def sides(scale, more=0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(ROWS, 16, generator=generator)
    b = torch.cat([a + torch.randn(a.shape, generator=generator), torch.randn(more, 16)])
    order = torch.randperm(ROWS + more, generator=generator)
    ids = torch.arange(ROWS + more)[order] * 7 - 5
    place = torch.argsort(ids)[:ROWS]
    a, b = (scale * a).to(dtype), (scale * b).to(dtype)
    return Side.of(a.requires_grad_(), id=ids[place]), Side.of(b.requires_grad_(), id=ids)


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
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tau", [0.5, 0.05])
def test_single_precision_loses_no_more_than_lists_do(tau):
    """Logits up to 20 are rounded to 2e-6 before anything is computed."""
    exact = outcome(lambda a, b: contrast_both(a, b, Listed("id"), tau=tau), *sides(1.0))
    for pairs in (Pairs.same("id"), Listed("id")):
        single = sides(1.0, dtype=torch.float32)
        found = outcome(lambda a, b, pairs=pairs: contrast_both(a, b, pairs, tau=tau), *single)
        for one, other in zip(found, exact, strict=True):
            torch.testing.assert_close(one.to(other), other, rtol=2e-5, atol=4e-5)


@pytest.mark.parametrize("distance", [3.0, 15.0, 30.0])
def test_rows_of_unlike_size_are_told_from_one_another(distance):
    """Greatest logits of rows that lie near one another, and too far for one exponential."""
    q, k = sides(0.1)
    z = q.z.detach() * torch.where(torch.arange(ROWS) < 5, distance / 2.0, 1.0)[:, None]
    q = q.replace(z.requires_grad_())
    settings = {"tau": 0.05, "similarity": Dot()}
    found = outcome(lambda a, b: contrast_both(a, b, Pairs.same("id"), **settings), q, k)
    wanted = outcome(lambda a, b: contrast_both(a, b, Listed("id"), **settings), q, k)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("push", ["sum", "mean"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.1, 3.0])
@pytest.mark.parametrize("more", [0, 50])
def test_pairs_judged_alone(push, keep, scale, more):
    """Small logits share one exponential, large ones do not."""
    q, k = sides(scale, more=more)
    settings = {
        "pull": "sum", "push": push, "keep": keep, "tau": 0.5, "similarity": Dot(),
        "link": PairSigmoid(bias=-2.0),
    }  # fmt: skip
    found = outcome(lambda a, b: contrast(a, b, Pairs.same("id"), **settings), q, k)
    wanted = outcome(lambda a, b: contrast(a, b, Listed("id"), **settings), q, k)
    dense = outcome(lambda a, b: contrast(a, b, Pairs.same("id"), method="dense", **settings), q, k)
    for one, other, third in zip(found, wanted, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(one, third, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([3, 5, 9], [3, 5, 9]),
        ([3, 3, 9], [3, 3, 9]),  # equal, and twice there
        ([9, 5, 3], [9, 5, 3]),  # equal, and not ascending
        ([3, 5], [3, 5, 9]),
        ([], []),
        ([1, 2], [3, 4]),
    ],
)
def test_matches_are_those_of_a_loop(a, b):
    row, column = matches(torch.tensor(a).long(), torch.tensor(b).long(), 100)
    pairs = sorted(zip(row.tolist(), column.tolist(), strict=True))
    assert pairs == [(i, j) for i, x in enumerate(a) for j, y in enumerate(b) if x == y]
    assert row.tolist() == sorted(row.tolist())
    assert matches(torch.tensor(a).long(), torch.tensor(b).long(), len(pairs) - 1) is None or not a


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


def test_rows_of_unit_length_and_their_derivatives():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z.requires_grad_()
    assert torch.autograd.gradcheck(unit, z)
    assert torch.autograd.gradgradcheck(unit, z)
    torch.testing.assert_close(
        torch.func.jacrev(unit)(z), torch.autograd.functional.jacobian(unit, z)
    )
    z = torch.cat([torch.zeros(1, 3, dtype=torch.float64), z.detach()])
    twice = torch.func.jacrev(torch.func.jacrev(unit))(z)
    assert torch.isfinite(twice).all() and twice[:, :, 0].eq(0.0).all()


def test_rows_without_length_have_no_gradient_and_broken_ones_are_seen():
    rows = [[0.0, 0.0], [1e-9, 0.0], [1e25, 0.0], [torch.nan, 1.0], [torch.inf, 1.0], [3.0, 4.0]]
    z = torch.tensor(rows, requires_grad=True)
    found = unit(z)
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), z)
    assert found[:2].eq(0.0).all() and gradient[:2].eq(0.0).all()
    assert found[2:5].isnan().all() and gradient[2:5].isnan().all()
    torch.testing.assert_close(found[5].tolist(), [0.6, 0.8])
    torch.testing.assert_close(gradient[5].tolist(), [0.128, -0.096])
