"""Blocks against the dense algebra: values, gradients, diagnostics, ragged and empty sizes."""

import math
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.actions import Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SO3
from equivariant.losses import (
    Boltzmann,
    Canonical,
    Cosine,
    Dot,
    Hardest,
    Hinge,
    Kernel,
    Learned,
    NegativeSquaredAngle,
    NegativeSquaredDistance,
    PairHinge,
    Pairs,
    PairSigmoid,
    PerAnchor,
    PerCandidate,
    PerPair,
    Side,
    contrast,
    contrast_both,
)
from equivariant.losses.contrast import tiles

FIELDS = ("per_anchor", "valid", "gap", "push_mass", "entropy")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of three or four anchors, so that every case has a ragged last one."""
    monkeypatch.setattr(tiles, "_ENTRIES_PER_BLOCK", 1)
    monkeypatch.setattr(tiles, "_ROWS", (3, 4))


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(n, high, seed=0):
    return torch.randint(high, (n,), generator=torch.Generator().manual_seed(seed))


def compare(make, inputs, upstream=None, **settings):
    """Value, diagnostics and gradients of both methods; ``make`` gives q, k, pairs, tau."""
    results = {}
    for method in ("dense", "tiled"):
        leaves = [x.clone().requires_grad_() for x in inputs]
        q, k, pairs, tau = make(*leaves)
        value = contrast(q, k, pairs, tau=tau, method=method, **settings)
        loss = value.mean() if upstream is None else (value.per_anchor * upstream).sum()
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        results[method] = value, gradients
    (dense, dense_gradients), (tiled, tiled_gradients) = results["dense"], results["tiled"]
    for name in FIELDS:
        torch.testing.assert_close(getattr(tiled, name), getattr(dense, name), rtol=0, atol=1e-12)
    for mine, other in zip(tiled_gradients, dense_gradients, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


def learned(log_tau):
    tau = Learned(0.5)
    del tau._parameters["log_tau"]
    tau.log_tau = log_tau
    return tau


LINKS = ["gap", "softplus", Hinge(0.3), PairHinge(0.5), PairSigmoid(-0.2)]


@pytest.mark.parametrize("link", LINKS, ids=str)
@pytest.mark.parametrize(
    "pull", ["mean", "sum", "lse", "lme", "max", "min", "each", Boltzmann(-1.5)]
)
@pytest.mark.parametrize("push", ["lse", "mean", "max", Boltzmann(0.7)])
def test_every_form(pull, push, link):
    q_names, k_names = numbers(10, 6), numbers(13, 5, 1)

    def make(q, k, log_tau):
        a, b = Side.of(q, label=q_names), Side.of(k, label=k_names)
        return a, b, Pairs.same("label"), learned(log_tau)

    inputs = (draw(10, 4), draw(13, 4, 1), torch.tensor(-0.4, dtype=torch.float64))
    compare(make, inputs, pull=pull, push=push, link=link, keep=0.4)
    compare(make, inputs, draw(10, 1)[:, 0], pull=pull, push=push, link=link, keep=1.0)


@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pull", ["mean", "sum", "lse", "none"])
@pytest.mark.parametrize("sizes", [(7, 5), (1, 9), (9, 1), (8, 8), (3, 300)])
def test_listed_pairs_of_every_kind(pull, keep, sizes):
    n, m = sizes
    q_names, k_names = numbers(n, 4), numbers(m, 4, 1)
    tau, weight, bias = numbers(n, 5).double() / 5 + 0.2, draw(n, 1)[:, 0], draw(m, 1, 3)[:, 0]
    bias[m // 2] = -math.inf
    base = Pairs.same("label").without_same("group")
    kinds = [base, base.bias("bias"), base.weigh(pull="factor"), Pairs.same("label").not_self()]
    for pairs in kinds:

        def make(q, k, pairs=pairs):
            a = Side.of(
                q, label=q_names, group=numbers(n, 9, 4), tau=tau, factor=weight.abs() + 0.1
            )
            b = Side.of(k, label=k_names, group=numbers(m, 9, 5), bias=bias)
            return a, b, pairs, PerAnchor()

        for link in ("gap",) if pull == "none" else ("gap", "softplus"):
            compare(make, (draw(n, 3), draw(m, 3, 1)), pull=pull, keep=keep, link=link)
            compare(make, (draw(n, 3), draw(m, 3, 1)), weight, pull=pull, keep=keep, link=link)


@pytest.mark.parametrize(
    "similarity", [Cosine(), Dot(), NegativeSquaredDistance(), NegativeSquaredAngle()], ids=str
)
@pytest.mark.parametrize(
    "hardest", [None, Hardest(count=3), Hardest(share=0.4), Hardest(above=0.0)]
)
def test_similarities_and_hard_negatives(similarity, hardest):
    k_tau = numbers(11, 6).double() / 6 + 0.3

    def make(q, k):
        a, b = Side.of(q, id=numbers(8, 7)), Side.of(k, id=numbers(11, 7, 1), tau=k_tau)
        return a, b, Pairs.same("id"), PerCandidate()

    compare(make, (draw(8, 4), draw(11, 4, 1)), similarity=similarity, hardest=hardest)


def test_soft_pairs_and_poses():
    group = SO3()
    poses = group.sample(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def make(q):
        side = Side.of(q, pose=poses, label=draw(9, 1)[:, 0])
        return side, side, Kernel("label", 0.7).not_self(), 0.3

    compare(make, (draw(9, 6),), similarity=Canonical(Vectors(group, channels=2)))


def test_anchors_that_are_their_own_candidates_and_weights():
    def make(z):
        side = Side.views(z[:6], z[6:], weight=torch.arange(6.0, dtype=torch.float64))
        return side, side, Pairs.same("id").not_self(), 0.2

    compare(make, (draw(12, 5),))


def test_rows_without_positives_or_pushes_have_no_gradient():
    def make(q, k):
        a = Side.of(q, label=torch.tensor([0, 8, 0, 9, 1]), group=torch.tensor([0, 0, 0, 1, 1]))
        b = Side.of(k, label=torch.tensor([0, 1, 1]), group=torch.tensor([0, 0, 0]))
        return a, b, Pairs.same("label").without_same("group"), 0.5

    compare(make, (draw(5, 3), draw(3, 3, 1)))
    compare(make, (draw(5, 3), draw(3, 3, 1)), pull="none")
    q, k, pairs, tau = make(draw(5, 3).requires_grad_(), draw(3, 3, 1))
    value = contrast(q, k, pairs, tau=tau, method="tiled")
    assert not value.valid[:3].any()
    (gradient,) = torch.autograd.grad(value.mean(), q.z)
    assert torch.equal(gradient[:3], torch.zeros(3, 3).double())


@pytest.mark.parametrize("method", ["dense", "tiled"])
def test_no_anchor_or_no_candidate(method):
    empty, some = Side.of(draw(0, 3), id=numbers(0, 2)), Side.of(draw(4, 3), id=numbers(4, 2))
    for q, k in ((empty, some), (some, empty), (empty, empty)):
        for push in ("lse", "mean"):
            value = contrast(q, k, Pairs.same("id"), method=method, push=push)
            assert value.per_anchor.shape == (len(q),)
            assert float(value.mean()) == 0.0


def test_tiles_are_differentiated_once_and_the_dense_form_twice():
    q, k = draw(4, 3).requires_grad_(), draw(5, 3, 1)
    for push in ("lse", "mean"):
        sides = Side.of(q, id=numbers(4, 2)), Side.of(k, id=numbers(5, 2))
        tiled = contrast(*sides, Pairs.same("id"), method="tiled", push=push).mean()
        (first,) = torch.autograd.grad(tiled, q, create_graph=True)
        with pytest.raises(ConventionError, match="at most one derivative"):
            first.sum().backward()

    def dense(q, k):
        sides = Side.of(q, id=numbers(4, 2)), Side.of(k, id=numbers(5, 2))
        return contrast(*sides, Pairs.same("id"), method="dense").per_anchor

    assert torch.autograd.gradgradcheck(dense, (q, k.clone().requires_grad_()))


def test_what_tiles_refuse():
    side = Side.of(draw(6, 3), id=numbers(6, 2))
    tau = PerPair(torch.nn.Linear(3, 2).double())
    with pytest.raises(ConventionError, match="each pair"):
        contrast(side, side, Pairs.same("id"), tau=tau, method="tiled")
    trained = torch.ones(6, 6, dtype=torch.float64, requires_grad=True)
    weighed = Pairs.same("id").weigh(push=lambda q, k: trained[: len(q)])
    with pytest.raises(ConventionError, match="trained"):
        contrast(side, side, weighed, method="tiled")
    with pytest.raises((ConventionError, TypeCheckError), match="dense"):
        contrast(side, side, Pairs.same("id"), method="chunks")
    contrast(side, side, weighed).mean().backward()
    assert trained.grad.abs().sum() > 0


def test_a_large_batch_goes_through_tiles_and_keeps_no_pair(monkeypatch):
    saved = []
    monkeypatch.setattr(tiles, "_ENTRIES_PER_BLOCK", 1 << 16)
    monkeypatch.setattr(tiles, "_ROWS", (16, 64))
    side = Side.views(draw(600, 8).requires_grad_(), draw(600, 8, 1))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: saved.append(x.numel()) or x, lambda x: x
    ):
        value = contrast(side, side, Pairs.same("id").not_self(), tau=0.1)
    assert max(saved) <= 1200 * 8
    dense = contrast(side, side, Pairs.same("id").not_self(), tau=0.1, method="dense")
    torch.testing.assert_close(value.per_anchor, dense.per_anchor, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:bfloat16 embeddings")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("tau", [0.005, 0.01, 0.2])
def test_narrow_inputs_stay_finite_and_near(dtype, tau):
    z = torch.nn.functional.normalize(draw(16, 64), dim=1)
    z[3], z[5] = z[2], 0.0
    narrow = z.to(dtype).requires_grad_()
    pairs = Pairs.same("id").not_self()
    with torch.autocast("cpu", torch.bfloat16):
        side = Side.views(narrow[:8], narrow[8:])
        value = contrast(side, side, pairs, tau=tau, method="tiled").mean()
    assert value.dtype == torch.float32
    value.backward()
    assert torch.isfinite(narrow.grad).all()
    exact = Side.views(z[:8], z[8:])
    reference = contrast(exact, exact, pairs, tau=tau).mean()
    rounding = {torch.bfloat16: 2**-8, torch.float16: 2**-11, torch.float32: 2**-22}[dtype]
    assert abs(value.item() - float(reference)) <= 4 * rounding / tau


@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("pull", "link"), [("mean", "gap"), ("lse", "softplus"), ("sum", "gap")])
@pytest.mark.parametrize("weights", ["equal", "unequal"])
def test_both_directions_from_one_matrix_of_logits(pull, link, keep, weights, monkeypatch):
    monkeypatch.setattr(sys.modules["equivariant.losses.contrast.core"], "_DENSE_BELOW", 0)
    q_bias, k_bias = draw(10, 1, 5)[:, 0], draw(13, 1, 6)[:, 0]
    q_bias[2], k_bias[3] = -math.inf, -math.inf
    base = Pairs.same("label").without_same("group")
    for pairs in (Pairs.same("label"), base, base.bias("bias")):
        results = []
        for both in (True, False):
            q, k = draw(10, 4).requires_grad_(), draw(13, 4, 1).requires_grad_()
            log_tau = torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
            a = Side.of(q, label=numbers(10, 6), group=numbers(10, 9, 4), bias=q_bias)
            b = Side.of(k, label=numbers(13, 5, 1), group=numbers(13, 9, 5), bias=k_bias)
            settings = {"tau": learned(log_tau), "keep": keep, "pull": pull, "link": link}
            if both:
                values = contrast_both(a, b, pairs, **settings)
            else:
                ways = ((a, b), (b, a))
                values = [contrast(*w, pairs, method="dense", **settings) for w in ways]
            shares = (1.0, 1.0) if weights == "equal" else (0.3, 1.7)
            total = sum(w * v.per_anchor.sum() for w, v in zip(shares, values, strict=True))
            results.append((values, torch.autograd.grad(total, (q, k, log_tau))))
        (mine, my_gradients), (other, their_gradients) = results
        for one, two in zip(mine, other, strict=True):
            for name in FIELDS:
                torch.testing.assert_close(
                    getattr(one, name), getattr(two, name), rtol=0, atol=1e-12
                )
        for one, two in zip(my_gradients, their_gradients, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
