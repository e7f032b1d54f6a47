"""What presets are known to be in closed form, in limits, and at the edges of their settings."""

import math

import pytest
import torch

from equivariant.losses import (
    PRESETS,
    Boltzmann,
    Hardest,
    Kernel,
    Loss,
    NegativeSquaredDistance,
    Pairs,
    Side,
    contrast,
    preset,
)
from equivariant.losses.contrast.affinities import Agreement
from equivariant.losses.contrast.similarity import product, unit
from equivariant.losses.presets.modalities import SymileAll, shuffled_products
from equivariant.losses.presets.softmax import von_mises_fisher_weights
from equivariant.losses.presets.spaces import GatedPairs, joined_part
from equivariant.losses.presets.weights import community_strength, foreground_weights
from equivariant.losses.temperatures.temperature import Fixed

VIEWS = Pairs.same("id").not_self()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value(name, settings=None, **sides):
    return preset(name, **(settings or {})).build().double()(**sides).total.detach()


def close(x, y, atol=1e-12):
    torch.testing.assert_close(
        *(torch.as_tensor(v, dtype=torch.float64) for v in (x, y)), rtol=0, atol=atol
    )


def test_keep_moves_monotonely_and_continuously_from_infonce_to_its_decoupled_form():
    z = Side.views(draw(6, 5), draw(6, 5, seed=1))
    grid = [i / 50 for i in range(51)]
    rows = torch.stack([contrast(z, z, VIEWS, tau=0.5, keep=k).per_anchor for k in grid])
    steps = rows.diff(dim=0)
    assert (steps > 0).all()
    share = (rows[-1] - contrast(z, z, VIEWS, tau=0.5, keep=0.0).gap).max().item()
    assert steps.max().item() < 2 * share
    close(rows[0].mean(), value("dcl", {"tau": 0.5}, a=z.z[:6], b=z.z[6:]))
    close(rows[-1].mean(), value("nt_xent", a=z.z[:6], b=z.z[6:]))
    near = contrast(z, z, VIEWS, tau=0.5, keep=1e-12).per_anchor
    close(near, rows[0], 1e-9)


def test_limits_of_the_temperature_of_a_preset():
    a, b = draw(6, 5), draw(6, 5, seed=1)
    s = unit(a) @ unit(b).T
    cold = 1e-4 * value("infonce", {"tau": 1e-4}, a=a, b=b)
    close(cold, (s.amax(1) - s.diagonal()).mean(), 1e-3)
    hot = 1e4 * (value("infonce", {"tau": 1e4}, a=a, b=b) - math.log(6))
    close(hot, s.mean() - s.diagonal().mean(), 1e-3)


def test_an_empty_queue_is_a_batch_that_pushes_nothing():
    a, b = draw(4, 3), draw(4, 3, seed=1)
    close(value("moco", a=a, b=b, bank=draw(0, 3)), 0.0)


def test_weights_of_positives_have_mean_one_and_may_be_negative():
    for seed in range(5):
        a, b = Side.of(draw(16, 4, seed=seed)), Side.of(draw(16, 4, seed=seed + 9))
        both = von_mises_fisher_weights(a, b, sigma=0.5, least=None).get("pull")
        close(both.mean(), 1.0)
        assert both.min() < 0
        clamped = von_mises_fisher_weights(a, b, sigma=0.5, least=0.0).get("pull")
        assert clamped.min() == 0
        close(clamped, both.clamp(min=0))
        names = {"foreground": draw(16, 3, seed=seed), "background": draw(16, 3, seed=seed + 5)}
        a = Side.of(a.z, **names)
        b = Side.of(b.z, foreground=draw(16, 3), background=draw(16, 3, seed=4))
        close(foreground_weights(a, b, gamma=3.0).weight.mean(), 1.0)


def test_a_pair_of_negative_weight_is_pushed_apart():
    a, b = draw(16, 4).requires_grad_(), draw(16, 4, seed=1)
    weight = von_mises_fisher_weights(Side.of(a), Side.of(b), sigma=0.1, least=None).get("pull")
    worst = int(weight[:16].argmin())
    loss = [preset("dclw", sigma=0.1, least=least).build() for least in (None, 0.0)]
    faithful, clamped = (torch.autograd.grad(x(a=a, b=b).total, a)[0] for x in loss)
    toward = unit(b)[worst] - unit(a)[worst] * (unit(a)[worst] @ unit(b)[worst])
    assert (faithful - clamped)[worst] @ toward > 0  # descending leads away from the partner


def test_tokens_need_no_margin_once_they_differ():
    side = Side.of(draw(6, 5), sequence=torch.tensor([0, 0, 0, 1, 1, 1]))
    assert value("simctg", {"margin": 0.0}, a=side) == 0
    assert value("simctg", {"margin": 2.0}, a=side) > 0.5
    equal = side.replace(torch.ones(6, 5).double())
    close(value("simctg", {"margin": 0.5}, a=equal), 0.5)


def test_one_pair_of_two_objects_under_the_sigmoid():
    a, b = torch.eye(2).double()[:1], torch.tensor([[0.6, 0.8]]).double()
    found = value("siglip", {"t": 3.0, "b": -1.0}, a=a, b=b)
    close(found, math.log1p(math.exp(-(3 * 0.6 - 1))), 1e-6)
    q = Side.of(a, id=torch.tensor([0]))
    k = Side.of(torch.tensor([[0.6, 0.8], [0.8, -0.6]]).double(), id=torch.tensor([0, 1]))
    term = preset("siglip", t=3.0, b=-1.0).terms[0]
    with torch.no_grad():
        both = contrast(q, k, Pairs.same("id"), tau=1 / 3.0, pull="sum", push="sum", link=term.link)
    close(both.mean(), math.log1p(math.exp(-0.8)) + math.log1p(math.exp(3 * 0.8 - 1)), 1e-6)


@pytest.mark.parametrize(("share", "number"), [(0.3, 50), (0.6, 25), (0.15, 100), (0.1, 7)])
def test_a_share_of_the_negatives_is_rounded_up_and_not_beyond(share, number):
    s = draw(1, number)
    stays = Hardest(share=share).select(s, torch.ones_like(s, dtype=torch.bool))
    expected = {(0.3, 50): 15, (0.6, 25): 15, (0.15, 100): 15, (0.1, 7): 1}[share, number]
    assert int(stays.sum()) == expected
    assert s[stays].min() > s[~stays].max()


def test_label_kernels_between_equality_and_indifference():
    label = torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]).double()
    side = Side.of(draw(6, 4), label=label)
    narrow = contrast(side, side, Kernel("label", 1e-3).not_self(), tau=0.2).mean()
    equal = side.replace(label=label.long())
    close(narrow, contrast(equal, equal, Pairs.same("label").not_self(), tau=0.2).mean())
    wide = contrast(side, side, Kernel("label", 1e6).not_self(), tau=0.2).per_anchor
    for i in range(6):
        s = (unit(side.z) @ unit(side.z)[i])[torch.arange(6) != i] / 0.2
        close(wide[i], s.logsumexp(0) - s.mean(), 1e-9)
        assert wide[i] >= math.log(5)


def test_soft_targets_cost_at_least_their_entropy():
    for tau in (0.1, 1.0, 10.0):
        q = Side.of(draw(6, 4), features=draw(6, 3))
        k = Side.of(draw(6, 4, seed=2), features=draw(6, 3, seed=3))
        p = Agreement("features").tile(q, k).attraction
        p = p / p.sum(1, keepdim=True)
        entropy = -(p * p.log()).sum(1)
        found = contrast(q, k, Agreement("features"), tau=tau).per_anchor
        assert (found >= entropy).all()


def clusters(numbers):
    side = {"clusters": numbers[:, None], "cluster": numbers}
    return {"a": Side.of(draw(5, 4), **side), "b": Side.of(draw(5, 4, seed=1), **side)}


def test_one_cluster_repels_nobody_and_as_many_as_nodes_everybody():
    sides = clusters(torch.zeros(5, dtype=torch.int64))
    z = sides["a"].z.requires_grad_()
    term = preset("meow", prototypes=0.0).terms[0]
    named = {n: s.replace(id=torch.arange(5)) for n, s in sides.items()}
    result = contrast(named["a"], named["b"], term.pairs, tau=term.tau, keep=term.keep)
    assert not result.valid.any()
    with pytest.warns(UserWarning, match="no anchor counts"):
        total = preset("meow", prototypes=0.0).build()(**sides).total
    assert total.item() == 0
    assert torch.equal(torch.autograd.grad(total, z)[0], torch.zeros_like(z))
    sides = clusters(torch.arange(5))
    s = unit(sides["a"].z) @ unit(sides["b"].z).T / 0.4
    off = torch.where(torch.eye(5) > 0, -math.inf, s)
    expected = (off.logsumexp(1) - s.diagonal()).mean()
    close(value("meow", {"prototypes": 0.0}, **sides), expected)


def test_the_network_of_pair_weights_has_a_gradient():
    torch.manual_seed(0)
    loss = preset("adameow", dim=4).build().double()
    total = loss(a=draw(5, 4), b=draw(5, 4, seed=1)).total
    gradients = torch.autograd.grad(total, list(loss.parameters()))
    assert len(gradients) == 4
    assert all(bool(g.abs().sum() > 0) for g in gradients)


def test_what_an_anchor_adds_to_its_row_cancels():
    strength = draw(5)
    sides = {n: Side.of(draw(5, 4, seed=i), strength=strength) for i, n in enumerate("ab")}
    full = value("csgcl", {"gamma": 0.8}, **sides)
    z = Side.join(*(s.replace(id=torch.arange(5)) for s in sides.values()))
    z = z.replace(index=None, bias=0.8 * z.get("strength") / 0.4)
    column = contrast(z, z, VIEWS.bias("bias"), tau=0.4).per_anchor
    own = torch.cat([strength, strength]) * 0.8 / 0.4  # in the numerator, a constant
    close(full, (column - own).mean())
    moved = {n: s.replace(strength=s.get("strength") + 3.0) for n, s in sides.items()}
    close(value("csgcl", {"gamma": 0.8}, **moved), full)


def test_strength_of_communities_by_loops():
    edges = torch.tensor([[0, 1], [1, 2], [0, 2], [3, 4], [2, 3], [4, 5]])
    community = torch.tensor([0, 0, 0, 1, 1, 2])
    found = community_strength(edges, community)
    for node, c in enumerate(community.tolist()):
        inside = sum(int(community[u] == community[v] == c) for u, v in edges)
        degree = sum(int(community[u] == c) + int(community[v] == c) for u, v in edges)
        assert found[node].item() == pytest.approx(inside / 6 - (degree / 12) ** 2)


def test_the_joint_term_is_a_row_push_on_joined_vectors():
    side = Side.of(draw(6, 3), salient=draw(6, 2, seed=1))
    joined = joined_part(side, side.replace(side.get("salient")))
    c, s = unit(side.z), side.get("salient")
    expected = []
    for i in range(6):
        k = [
            math.exp(-float((c[i] - c[j]).square().sum())) * math.exp(
                -float((s[i] - s[j]).square().sum()))
            for j in range(6) if j != i
        ]  # fmt: skip
        expected.append(math.log(sum(k) / 5))
    plain = NegativeSquaredDistance()
    no_id = joined.replace(id=torch.arange(6))
    found = contrast(
        no_id, no_id, Pairs.same("index").not_self(), tau=1.0, similarity=plain, pull="none",
        push="lme",
    )  # fmt: skip
    close(found.per_anchor, expected)


def test_attraction_and_repulsion_with_flat_and_steep_weights():
    a, b = draw(5, 4), draw(5, 4, seed=1)
    z = torch.cat([unit(a), unit(b)])
    d = (z[:, None] - z).square().sum(-1)
    partner = torch.arange(10).roll(5)
    pull = d[torch.arange(10), partner]
    negative = torch.ones(10, 10, dtype=torch.bool).fill_diagonal_(False)
    negative[torch.arange(10), partner] = False
    far = torch.where(negative, d, 0.0).sum(1) / 8
    for t in (0.0, 1.0, 7.0):  # one positive: its weight is 1, whatever t
        found = value("cacr", {"t_pull": t, "t_push": 0.0}, a=a, b=b)
        close(found, (pull - far).mean())
    nearest = torch.where(negative, d, math.inf).amin(1)
    close(value("cacr", {"t_push": 1e4}, a=a, b=b), (pull - nearest).mean(), 1e-6)


def test_far_positives_weigh_more():
    q = Side.of(torch.tensor([[0.0, 0.0]]).double(), label=torch.tensor([0]))
    k = Side.of(torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), label=torch.tensor([0, 0]))
    found = contrast(
        q, k, Pairs.same("label"), tau=1.0, similarity=NegativeSquaredDistance(),
        pull=Boltzmann(-1.0), push="none",
    )  # fmt: skip
    share = math.exp(4) / (math.exp(1) + math.exp(4))
    close(found.mean(), share * 4 + (1 - share))


def test_gates_are_those_of_an_unordered_pair_of_classes():
    torch.manual_seed(0)
    module = GatedPairs(3, 4, 0.2).double()
    gates = {(i, j): module.gate(i, j) for i in range(3) for j in range(3)}
    for (i, j), gate in gates.items():
        assert torch.equal(gate, gates[j, i])
        assert ((gate > 0) & (gate < 1)).all()
    assert len({tuple(g.tolist()) for g in gates.values()}) == 6
    a, b = draw(6, 4), draw(6, 4, seed=1)
    first, second = torch.tensor([0, 1, 0, 2, 1, 2]), torch.tensor([1, 0, 2, 0, 1, 2])
    close(module(a, b, first, second).sum(), module(b, a, second, first).sum())


def test_products_of_three():
    a, b, c = (draw(5, 4, seed=i) for i in range(3))
    ones = torch.ones(5, 4).double()
    s = (a * product(Side.of(b), Side.of(ones)).z).sum(1)
    close(s, (a * b).sum(1))
    flipped = (a * product(Side.of(-b), Side.of(c)).z).sum(1)
    close(flipped, -(a * product(Side.of(b), Side.of(c)).z).sum(1))
    module = SymileAll(Fixed(0.5))
    for order in ((a, b, c), (b, c, a), (c, b, a), (a, c, b)):
        close(module(*order), module(a, b, c))
    brute = []
    u, v, w = (unit(x) for x in (a, b, c))
    for x, y, z in ((u, v, w), (v, w, u), (w, u, v)):
        for i in range(5):
            logits = [float((x[i] * y[j] * z[k]).sum()) / 0.5 for j in range(5) for k in range(5)]
            brute.append(math.log(sum(map(math.exp, logits))) - logits[6 * i])
    close(module(a, b, c), sum(brute) / 15)


@pytest.mark.parametrize("orders", [([0, 1, 2, 3], [0, 1, 2, 3]), ([2, 1, 3, 0], [2, 0, 3, 1])])
def test_true_triples_that_shuffles_meet_are_left_out(orders, monkeypatch):
    """Both shuffles agree at all places, or at two of four: these are true triples."""
    sides = {n: draw(4, 3, seed=i) for i, n in enumerate("abc")}
    given = iter([torch.tensor(o) for o in orders] * 3)
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: next(given))
    found = value("symile", {"tau": 0.5}, **sides)
    units = {n: unit(z) for n, z in sides.items()}
    rows = []
    for anchor in "abc":
        x, (y, z) = units[anchor], (units[n] for n in "abc" if n != anchor)
        for i in range(4):
            own, total = float((x[i] * y[i] * z[i]).sum()) / 0.5, 0.0
            for j in range(4):
                one, other = orders[0][j], orders[1][j]
                if j != i and (one, other) != (i, i):
                    total += math.exp(float((x[i] * y[one] * z[other]).sum()) / 0.5)
            rows.append(math.log(math.exp(own) + total) - own)
    close(found, sum(rows) / 12, 1e-6)


def test_shuffled_products_know_which_object_they_happen_to_be(monkeypatch):
    given = iter([torch.tensor([2, 1, 3, 0]), torch.tensor([2, 0, 3, 1])])
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: next(given))
    sides = [Side.of(draw(4, 3, seed=i), id=torch.arange(4)) for i in range(2)]
    made = shuffled_products(*sides, generator=None)
    assert made.get("truth").tolist() == [1, 2, 3, 4, 3, 0, 4, 0]
    assert made.get("shuffled").tolist() == [0] * 4 + [1] * 4


def test_every_preset_says_what_it_is():
    for name, found in PRESETS.items():
        assert found.title, name
        assert found.formula, name
        assert found.source, name
        assert found.purpose, name
        assert found.sides, name
    assert isinstance(preset("dcl").build(), Loss)
