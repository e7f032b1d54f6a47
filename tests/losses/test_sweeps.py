"""Classes and single pairs in blocks, derivatives of every order and kind, at sizes of blocks."""

import math
import warnings

import pytest
import torch
from torch.autograd import forward_ad

from equivariant.errors import ConventionError
from equivariant.losses import Learned, Pairs, PairSigmoid, Side, contrast, preset
from equivariant.losses.contrast import tiles

FIELDS = ("per_anchor", "valid", "gap", "push_mass", "entropy")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sides(n, m):
    """Anchors of which one has a class of its own, and candidates."""
    of_q, of_k = torch.arange(n) % 3, torch.arange(m) % 4
    of_q[1] = 9
    q, k = draw(n, 5).requires_grad_(), draw(m, 5, seed=1).requires_grad_()
    names = [{"id": torch.arange(x), "group": torch.arange(x) // 2} for x in (n, m)]
    return Side.of(q, label=of_q, **names[0]), Side.of(k, label=of_k, **names[1])


CASES = {
    "classes": (Pairs.same("label"), {}),
    "classes less some": (Pairs.same("label").without_same("group"), {"link": "softplus"}),
    "judged alone, sums": (
        Pairs.same("id"), {"link": PairSigmoid(-1.0), "pull": "sum", "push": "sum"},
    ),
    "judged alone, means": (
        Pairs.same("label").without_same("group"), {"link": PairSigmoid(0.5), "keep": 0.5},
    ),
    "judged alone, great": (
        Pairs.same("id"), {"link": PairSigmoid(30.0), "pull": "sum", "push": "sum"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("n", "m"), [(7, 7), (300, 67), (5, 1), (3, 0)])
def test_blocks_equal_the_dense_form(case, n, m, monkeypatch):
    monkeypatch.setattr(tiles, "_ROWS", (64, 64))
    pairs, form = CASES[case]
    q, k = sides(n, max(m, 2))
    k = k[:m]
    tau = Learned(0.3).double()
    leaves, found = (q.z, k.z, tau.log_tau), []
    for method in ("dense", "tiled"):
        value = contrast(q, k, pairs, tau=tau, method=method, **form)
        weighed = (value.per_anchor * torch.linspace(0.5, 2.0, n).double()).sum()
        found.append((value, torch.autograd.grad(weighed, leaves, allow_unused=True)))
    for name in FIELDS:
        one, other = (getattr(value, name).double() for value, _ in found)
        torch.testing.assert_close(other, one, rtol=0, atol=1e-11, msg=f"{case} {name}")
    for one, other in zip(found[0][1], found[1][1], strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-10)


def test_sums_of_softplus_keep_small_terms_in_float32():
    """Broken twin: the product of eight (1 + e) itself has lost them."""
    q = Side.of(torch.eye(40)[:1], id=torch.tensor([99]))
    k = Side.of(torch.eye(40)[1:], id=torch.arange(39))
    form = {"link": PairSigmoid(-18.0), "pull": "sum", "push": "sum", "tau": 1.0}
    value = contrast(q, k, Pairs.same("id"), method="tiled", **form).per_anchor.item()
    exact = 39 * math.log1p(math.exp(-18.0))
    assert value == pytest.approx(exact, rel=1e-5)
    e = torch.full((39,), -18.0).exp()
    assert (1 + e).prod().log().item() != pytest.approx(exact, rel=1e-2)


LOSSES = ["nt_xent", "clip", "siglip", "supcon_out", "supcon_in", "align_uniform", "triplet"]


def loss_of(name):
    """A loss of two views at a size at which blocks evaluate it."""
    loss = preset(name).build().double()
    known = {"label": torch.arange(140) % 3} if name in [*LOSSES[3:5], "triplet"] else {}
    b = draw(140, 4, seed=1)
    return lambda a: loss(a, b, **known).total


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # PyTorch's own
@pytest.mark.parametrize("name", LOSSES)
def test_functional_and_forward_derivatives(name):
    value, a, t = loss_of(name), draw(140, 4), draw(140, 4, seed=2)
    leaf = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(value)(a), gradient)
    slope = torch.func.jvp(value, (a,), (t,))[1]
    torch.testing.assert_close(slope, (gradient * t).sum())
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(value(forward_ad.make_dual(a, t))).tangent
    torch.testing.assert_close(dual, slope)
    two = torch.func.vmap(value)(torch.stack([a, t]))
    torch.testing.assert_close(two[0], value(a))


@pytest.mark.parametrize("name", LOSSES[:-1])
def test_second_derivatives(name):
    value, t, step = loss_of(name), draw(140, 4, seed=2), 1e-5
    a = draw(140, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(value(a), a, create_graph=True)
    (found,) = torch.autograd.grad((gradient * t).sum(), a)
    ends = [torch.autograd.grad(value(a + s * step * t), a)[0] for s in (1, -1)]
    torch.testing.assert_close(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_tiles_that_were_asked_for_say_what_they_cannot_do():
    a, b = draw(8, 4).requires_grad_(), draw(8, 4, seed=1)
    loss = preset("nt_xent", method="tiled").build()
    (gradient,) = torch.autograd.grad(loss(a, b).total, a, create_graph=True)
    with pytest.raises(ConventionError, match="'dense' or 'auto'"):
        gradient.sum().backward()
    with pytest.raises(ConventionError, match=r"torch\.func"):
        torch.func.grad(lambda z: loss(z, b).total)(a.detach())


def test_a_learned_temperature_at_its_bound_under_transforms():
    tau = Learned(0.1, low=0.1, high=1.0).double()
    a, b = draw(8, 4), draw(8, 4, seed=1)
    loss = preset("nt_xent", tau=tau).build()
    weights = dict(loss.named_parameters())

    def value(weights):
        return torch.func.functional_call(loss, weights, (a, b)).total

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = torch.func.grad(value)(weights)
    (expected,) = torch.autograd.grad(loss(a, b).total, list(weights.values()))
    torch.testing.assert_close(next(iter(found.values())), expected)
