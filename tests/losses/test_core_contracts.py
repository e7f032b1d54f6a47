"""What the core promises: derivatives of every form, symmetries, compilation."""

import itertools
import math

import pytest
import torch

from equivariant.actions import IrrepsAction, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SO3
from equivariant.losses import (
    Boltzmann,
    Cosine,
    Dot,
    Gated,
    Hinge,
    Learned,
    Loss,
    NegativeSquaredAngle,
    NegativeSquaredDistance,
    Objective,
    PairHinge,
    Pairs,
    PairSigmoid,
    PerAnchor,
    PerCandidate,
    PerPair,
    Side,
    contrast,
    preset,
    whiten,
)

LABEL_Q, LABEL_K = torch.tensor([0, 1, 2, 9, 0]), torch.tensor([0, 0, 1, 2, 2, 3, 4])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def temperature(kind, number):
    """A temperature made of numbers that a gradient flows to, and the names it needs."""
    if kind == "learned":
        tau = Learned(0.5)
        del tau._parameters["log_tau"]
        tau.log_tau = number[0] - 1.0  # inside its bounds
        return tau, {}, {}
    if kind == "anchor":
        return PerAnchor(), {"tau": number[:5].exp()}, {}
    if kind == "candidate":
        return PerCandidate(), {}, {"tau": number.exp()}
    network = torch.nn.Linear(3, 2, bias=False).double()
    del network._parameters["weight"]
    network.weight = number[:6].reshape(2, 3)
    return PerPair(network, low=0.3), {}, {}


FORMS = [
    ("lme", "lme", "gap"),
    ("max", "max", "softplus"),
    ("min", "sum", "gap"),
    ("sum", "lse", "softplus"),
    ("each", "lse", "softplus"),
    ("each", "mean", "gap"),
    ("mean", "lse", Hinge(0.8)),
    ("lse", "max", Hinge(0.8)),
    ("mean", "sum", PairHinge(0.7)),
    ("sum", "mean", PairSigmoid(-0.3)),
    (Boltzmann(-1.3), Boltzmann(0.9), "gap"),
    ("none", "lme", "gap"),
    ("mean", "none", "gap"),
]
SIMILARITIES = [Cosine(), Dot(), NegativeSquaredDistance(), NegativeSquaredAngle()]
CASES = [
    (form, kind, SIMILARITIES[(i + j) % 4])
    for (i, form), (j, kind) in itertools.product(
        enumerate(FORMS), enumerate(("learned", "anchor", "candidate", "pair"))
    )
] + [(FORMS[10], "learned", similarity) for similarity in SIMILARITIES]


@pytest.mark.parametrize(("form", "kind", "similarity"), CASES, ids=str)
def test_derivatives_of_every_form(form, kind, similarity):
    """With rows that have no positive, masked candidates, log-weights that are trained."""
    pull, push, link = form

    def value(q, k, number, bias):
        tau, of_q, of_k = temperature(kind, number)
        hidden = torch.tensor([0.0, 0, 0, -math.inf, 0, 0, 0], dtype=torch.float64)
        a = Side.of(q, label=LABEL_Q, group=torch.tensor([0, 0, 0, 0, 1]), **of_q)
        b = Side.of(k, label=LABEL_K, group=torch.arange(7) + 1, bias=bias + hidden, **of_k)
        pairs = Pairs.same("label").without_same("group").bias("bias")
        return contrast(
            a, b, pairs, tau=tau, similarity=similarity, keep=0.4, pull=pull, push=push, link=link
        ).per_anchor

    inputs = (draw(5, 3), draw(7, 3, seed=1), 0.3 * draw(7, seed=2), draw(7, seed=3))
    leaves = tuple(x.requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(value, leaves, fast_mode=True)
    for gradient in torch.autograd.grad(value(*leaves).sum(), leaves, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize("method", ["dense", "tiled"])
def test_a_learned_temperature_beside_masked_candidates_has_a_finite_gradient(method):
    tau = Learned(0.05)
    z = Side.views(draw(4, 3), draw(4, 3, seed=1), group=torch.tensor([0, 0, 1, 1]))
    pairs = Pairs.same("id").not_self() | Pairs.same("id").without_same("group").not_self()
    contrast(z, z, pairs, tau=tau, method=method).mean().backward()
    assert torch.isfinite(tau.log_tau.grad)
    assert tau.log_tau.grad.abs() > 0


@pytest.mark.parametrize("link", ["gap", "softplus", Hinge(0.4), PairSigmoid(0.1)], ids=str)
def test_the_dense_path_is_differentiated_twice(link):
    def value(q, k, number):
        tau, _, _ = temperature("learned", number)
        a, b = Side.of(q, label=LABEL_Q), Side.of(k, label=LABEL_K)
        pairs = Pairs.same("label")
        return contrast(a, b, pairs, tau=tau, keep=0.5, link=link, method="dense").mean()

    inputs = (draw(5, 3), draw(7, 3, seed=1), draw(1, seed=2))
    assert torch.autograd.gradgradcheck(value, tuple(x.requires_grad_() for x in inputs))


def poses(n, seed=0):
    return SO3().sample(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ACTIONS = [Vectors(SO3(), channels=3), IrrepsAction("2x0e + 2x1o + 1x2e", SO3())]


def canonical(action, a, b, g, h):
    sides = {"a": Side.of(a, pose=g), "b": Side.of(b, pose=h)}
    return preset("canonical_nce", action=action, tau=0.3).build()(**sides).total


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__)
def test_rotations_of_each_view_with_recorded_poses_change_nothing(action):
    action = action.double()
    a, b = draw(6, action.dim), draw(6, action.dim, seed=1)
    g, h = poses(6), poses(6, 1)
    plain = canonical(action, a, b, g, h)
    r, s = poses(6, 2), poses(6, 3)
    turned = canonical(action, action(r, a), action(s, b), r @ g, s @ h)
    torch.testing.assert_close(turned, plain, rtol=0, atol=1e-10)
    forgotten = canonical(action, action(r, a), action(s, b), g, h)
    assert abs(float(forgotten - plain)) > 1e-3


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__)
def test_exact_features_and_true_elements_have_similarity_one(action):
    action, g = action.double(), poses(6)
    a = draw(6, action.dim)
    b = action(g, a)
    objective = Objective(preset("equivariant_nce", tau=0.2).plan, action)
    moved = Side.of(action(g, a), id=torch.arange(6))
    s = Cosine().matrix(moved, Side.of(b)).diagonal()
    torch.testing.assert_close(s, torch.ones_like(s), rtol=0, atol=1e-12)
    true = objective(a, b, g).total
    assert objective(a, b, g.roll(1, 0)).total > true + 0.1
    back = action(g.mT, action(g, a))
    torch.testing.assert_close(back, a, rtol=0, atol=1e-12)


def test_the_trivial_group_gives_the_invariant_loss():
    a, b = draw(6, 4), draw(6, 4, seed=1)
    identity = torch.eye(3).double()
    moved = Objective(preset("equivariant_nce", tau=0.2).plan, Trivial(4))(a, b, poses(6)).total
    plain = preset("infonce", tau=0.2).build()(a=a, b=b).total
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-14)
    still = canonical(Trivial(4), a, b, identity.expand(6, 3, 3), identity.expand(6, 3, 3))
    simclr = preset("nt_xent", tau=0.3).build()(a=a, b=b).total
    torch.testing.assert_close(still, simclr, rtol=0, atol=1e-14)


def test_a_common_rotation_leaves_cosines_of_whole_irreps_alone():
    irreps = "2x0e + 2x1o + 1x2e"
    action = IrrepsAction(irreps, SO3()).double()
    a, b = draw(6, action.dim), draw(6, action.dim, seed=1)
    g = poses(1)[0]
    loss = preset("nt_xent").build()
    plain = loss(a=a, b=b).total
    torch.testing.assert_close(
        loss(a=action(g, a), b=action(g, b)).total, plain, rtol=0, atol=1e-10
    )
    gate = torch.linspace(0.2, 1.0, action.dim).double()
    gated = contrast(
        Side.of(action(g, a), id=torch.arange(6)), Side.of(action(g, b), id=torch.arange(6)),
        Pairs.same("id"), similarity=Gated(gate),
    ).mean()  # fmt: skip
    still = contrast(
        Side.of(a, id=torch.arange(6)), Side.of(b, id=torch.arange(6)), Pairs.same("id"),
        similarity=Gated(gate),
    ).mean()  # fmt: skip
    assert abs(float(gated - still)) > 1e-3


def test_gates_that_split_an_irrep_are_refused():
    irreps = "1x0e + 1x1o"
    side = Side.of(draw(4, 4), id=torch.arange(4), irreps=irreps)
    split, whole = torch.tensor([1.0, 0.5, 0.5, 0.4]), torch.tensor([1.0, 0.5, 0.5, 0.5])
    with pytest.raises(ConventionError, match="1o"):
        contrast(side, side, Pairs.same("id"), similarity=Gated(split))
    assert contrast(side, side, Pairs.same("id"), similarity=Gated(whole)).valid.all()
    with pytest.raises(ConventionError, match="irreps"):
        whiten(draw(16, 4), groups=2, irreps=irreps)
    whiten(draw(16, 4), groups=2, irreps="4x0e")


@pytest.mark.parametrize("name", ["nt_xent", "dcl", "supcon_out", "cacr", "align_uniform"])
def test_order_and_size_of_embeddings_do_not_matter(name):
    a, b, label = draw(6, 4), draw(6, 4, seed=1), torch.tensor([0, 1, 0, 1, 2, 2])

    def value(a, b, label):
        return preset(name).build()(a=Side.of(a, label=label), b=Side.of(b, label=label)).total

    order, (turn, _) = torch.tensor([3, 1, 5, 0, 2, 4]), torch.linalg.qr(draw(4, 4, seed=2))
    plain = value(a, b, label)
    for other in (
        value(a[order], b[order], label[order]),
        value(b, a, label),
        value(a @ turn, b @ turn, label),
        value(3 * a, b / 7, label),
    ):
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-10)


def test_a_loss_of_terms_is_what_its_terms_are():
    loss = Loss(preset("contrastive_gap").plan).double()
    value = loss(a=draw(5, 4), b=draw(5, 4, seed=1))
    total = sum(term.weight * value.terms[term.key] for term in loss.terms)
    torch.testing.assert_close(value.total.detach(), total)
