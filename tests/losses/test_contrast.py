"""The core against triple loops written from the formulas, closed forms, limits, gradients."""

import itertools
import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    Cosine,
    Dot,
    Fixed,
    Learned,
    NegativeSquaredDistance,
    Pairs,
    Side,
    contrast,
)


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nt_xent_by_loops(a, b, tau, keep):
    """-log e^{s_p/τ} / (keep e^{s_p/τ} + Σ_{others} e^{s/τ}), mean over 2N anchors."""
    z = [v / v.norm() for v in [*a, *b]]
    n = len(a)
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        denominator = 0.0
        for j in range(2 * n):
            if j != i:
                term = math.exp(float(z[i] @ z[j]) / tau)
                denominator += keep * term if j == partner else term
        total += math.log(denominator) - float(z[i] @ z[partner]) / tau
    return total / (2 * n)


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("tau", [0.07, 0.5, 2.0])
def test_nt_xent_and_its_decoupled_form(tau, keep):
    a, b = draw(6, 5), draw(6, 5, seed=1)
    z = Side.views(a, b)
    value = contrast(z, z, Pairs.same("id").not_self(), tau=tau, keep=keep).mean()
    assert float(value) == pytest.approx(nt_xent_by_loops(a, b, tau, keep), abs=1e-12)
    kept_self = contrast(z, z, Pairs.same("id"), tau=tau, keep=keep).mean()
    assert abs(float(kept_self) - float(value)) > 1e-3


def supcon_by_loops(z, label, tau, form):
    z = z / z.norm(dim=1, keepdim=True)
    values = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if label[j] == label[i]]
        if not positives:
            continue
        denominator = sum(math.exp(float(z[i] @ z[j]) / tau) for j in others)
        shares = [math.exp(float(z[i] @ z[p]) / tau) / denominator for p in positives]
        if form == "out":
            values.append(-sum(map(math.log, shares)) / len(shares))
        else:
            values.append(-math.log(sum(shares)))
    return sum(values) / len(values)


@pytest.mark.parametrize(("form", "pull"), [("out", "mean"), ("in", "lse")])
def test_supervised_contrast_in_both_forms(form, pull):
    z, label = draw(9, 4), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    side = Side.of(z, label=label)
    result = contrast(side, side, Pairs.same("label").not_self(), tau=0.3, pull=pull)
    assert float(result.mean()) == pytest.approx(supcon_by_loops(z, label, 0.3, form), abs=1e-12)
    assert result.valid.tolist() == [True] * 8 + [False]


def test_infonce_is_the_decoupled_loss_through_a_softplus():
    z = Side.views(draw(5, 4), draw(5, 4, 1))
    pairs = Pairs.same("id").not_self()
    infonce = contrast(z, z, pairs, tau=0.2).per_anchor
    linked = contrast(z, z, pairs, tau=0.2, keep=0.0, link="softplus").per_anchor
    torch.testing.assert_close(infonce, linked)


def test_closed_forms():
    pairs = Pairs.same("id").not_self()
    equal = Side.views(torch.ones(4, 3).double(), torch.ones(4, 3).double())
    assert float(contrast(equal, equal, pairs, tau=0.1).mean()) == pytest.approx(math.log(7))
    assert float(contrast(equal, equal, pairs, tau=0.1, keep=0.0).mean()) == pytest.approx(
        math.log(6)
    )
    one = Side.of(torch.tensor([[1.0, 0.0]]).double(), id=torch.tensor([0]))
    two = Side.of(torch.tensor([[0.6, 0.8], [0.0, 1.0]]).double(), id=torch.tensor([0, 1]))
    value = contrast(one, two, Pairs.same("id"), tau=0.5).mean()
    assert float(value) == pytest.approx(math.log1p(math.exp((0.0 - 0.6) / 0.5)))


def test_limits_of_the_temperature():
    z = Side.views(draw(6, 5), draw(6, 5, 1))
    pairs = Pairs.same("id").not_self()
    s = Cosine().matrix(z, z)
    positive = torch.cat([s.diagonal(6), s.diagonal(-6)])
    off = ~torch.eye(12, dtype=torch.bool)
    hardest = torch.where(off, s, -2.0).amax(1)
    cold = 1e-4 * contrast(z, z, pairs, tau=1e-4).per_anchor
    torch.testing.assert_close(cold, (hardest - positive).clamp(min=0), atol=1e-3, rtol=0)
    hot = contrast(z, z, pairs, tau=1e4).per_anchor
    torch.testing.assert_close(hot, torch.full_like(hot, math.log(11)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("similarity", "pull", "push", "link"),
    [
        (s, a, b, c)
        for s, a, b, c in itertools.product(
            (Cosine(), Dot(), NegativeSquaredDistance()),
            ("mean", "lse"),
            ("mean", "lse"),
            ("gap", "softplus"),
        )
    ],
)
@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
def test_gradients_with_masked_rows_and_a_learned_temperature(similarity, pull, push, link, keep):
    label_q, label_k = torch.tensor([0, 1, 2, 9, 0]), torch.tensor([0, 0, 1, 2, 2, 3, 4])

    def value(q, k, log_tau):
        tau = Learned(0.5)
        tau.double()
        tau.log_tau = torch.nn.Parameter(log_tau)
        del tau._parameters["log_tau"]
        tau.log_tau = log_tau
        result = contrast(
            Side.of(q, label=label_q), Side.of(k, label=label_k), Pairs.same("label"),
            tau=tau, similarity=similarity, keep=keep, pull=pull, push=push, link=link,
        )  # fmt: skip
        return result.per_anchor

    inputs = (draw(5, 3), draw(7, 3, 1), torch.tensor(-0.7, dtype=torch.float64))
    assert torch.autograd.gradcheck(value, tuple(x.requires_grad_() for x in inputs))


def test_rows_without_positives_give_zero_and_no_gradient():
    z = draw(3, 4).requires_grad_()
    side = Side.of(z, id=torch.arange(3))
    result = contrast(side, side, Pairs.same("id").not_self(), tau=0.1)
    assert not result.valid.any()
    assert result.mean().item() == 0.0
    result.mean().backward()
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_an_empty_push_set():
    q = Side.of(draw(1, 4), id=torch.tensor([0]))
    gap = contrast(q, q, Pairs.same("id"), tau=0.1, keep=0.0)
    assert not gap.valid.any()
    softplus = contrast(q, q, Pairs.same("id"), tau=0.1, keep=0.0, link="softplus")
    assert float(softplus.mean()) == 0.0


@pytest.mark.filterwarnings("ignore:bfloat16 embeddings")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("tau", [0.005, 0.05])
def test_narrow_inputs_stay_finite(dtype, tau):
    z = draw(8, 16).to(dtype)
    z[3], z[5] = z[2], 0.0
    z.requires_grad_()
    side = Side.views(z[:4], z[4:])
    with torch.autocast("cpu", torch.bfloat16):
        value = contrast(side, side, Pairs.same("id").not_self(), tau=tau).mean()
    assert value.dtype == torch.float32
    value.backward()
    assert torch.isfinite(z.grad).all()


def test_invariances():
    a, b = draw(6, 5), draw(6, 5, 1)
    pairs = Pairs.same("id").not_self()

    def value(a, b):
        side = Side.views(a, b)
        return contrast(side, side, pairs, tau=0.2).mean()

    rotation, _ = torch.linalg.qr(draw(5, 5, 2))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for other in (
        value(a @ rotation, b @ rotation),
        value(3 * a, b / 7),
        value(a[order], b[order]),
    ):
        torch.testing.assert_close(other, value(a, b))
    assert abs(float(value(a @ rotation, b)) - float(value(a, b))) > 1e-3


def test_diagnostics():
    z = Side.views(draw(6, 5), draw(6, 5, 1))
    result = contrast(z, z, Pairs.same("id").not_self(), tau=0.2)
    torch.testing.assert_close(-torch.log1p(-result.push_mass), result.gap)
    assert (result.entropy <= math.log(11) + 1e-12).all()


def test_learned_temperature_comes_back_from_its_bounds():
    tau = Learned(0.1, low=0.1, high=1.0)
    (-tau.value()).backward()
    assert float(tau.log_tau.grad) < 0
    tau.zero_grad()
    tau.value().backward()
    assert float(tau.log_tau.grad) == 0.0


def test_refusals():
    side = Side.of(draw(2, 3))
    with pytest.raises(ShapeError, match="width"):
        contrast(side, Side.of(draw(2, 4)), Pairs.same("id"))
    with pytest.raises(ConventionError, match=r"\[0, 1\]"):
        contrast(side, side, Pairs.same("id"), keep=2.0)
    with pytest.raises(ConventionError, match="label"):
        contrast(side, side, Pairs.same("label"))
    with pytest.raises(ConventionError, match="above 0"):
        Fixed(0.0)
    with pytest.raises(ConventionError, match="low <= initial"):
        Learned(2.0)
    with pytest.raises((ShapeError, TypeCheckError)):
        Side.of(torch.zeros(3))


def test_a_warning_of_rounding():
    side = Side.views(draw(4, 3).bfloat16(), draw(4, 3, 1).bfloat16())
    with pytest.warns(UserWarning, match="temperature 0.01"):
        contrast(side, side, Pairs.same("id").not_self(), tau=0.01)
    contrast(side, side, Pairs.same("id").not_self(), tau=0.05)
