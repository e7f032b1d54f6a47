"""Losses with synthetic pairs against loops and closed forms."""

import math

import pytest
import torch
from preset_oracles import agree, draw
from preset_oracles import cos as cosine

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3
from equivariant.losses import Side, contrast, preset
from equivariant.losses.contrast.anchor_candidates import Own, repelling
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.synthesis import feature_mixtures as made
from equivariant.losses.synthesis.label_mixtures import (
    anchor_exclusive,
    anchor_exclusive_rotations,
    anchor_inclusive,
)
from equivariant.losses.temperatures.temperature import PerCandidate


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def source(seed=5):
    return torch.Generator().manual_seed(seed)


def softmax_loss(positive, logits):
    return -positive + torch.log(sum(torch.exp(x) for x in logits))


def infonce_by_loops(q, k, tau):
    rows = range(len(q))
    logits = [[cosine(q[i], k[j]) / tau for j in rows] for i in rows]
    return sum(softmax_loss(logits[i][i], logits[i]) for i in rows) / len(q)


def mochi_by_loops(a, b, bank, mixtures, tau):
    total = 0.0
    for i in range(len(a)):
        positive = cosine(a[i], b[i].detach()) / tau
        logits = [positive]
        for n in bank:
            logits.append(cosine(a[i], n.detach()) / tau)
        for h in mixtures[i]:
            logits.append(cosine(a[i], h) / tau)
        total = total + softmax_loss(positive, logits)
    return total / len(a)


def test_mochi_by_loops():
    a, b, bank = draw(5, 4), draw(5, 4, seed=1), draw(12, 4, seed=2)
    sizes = {"hardest": 6, "mixed": 5, "with_query": 3}
    loss = preset("mochi", **sizes).build()
    mixtures = made.mochi(a.detach(), bank.detach(), **sizes, generator=source()).z
    ours = loss(a=a, b=b, bank=bank, generator=source()).total
    agree(ours, mochi_by_loops(a, b, bank, mixtures, 0.2), [a])
    without = mochi_by_loops(a, b, bank, mixtures[:, :0], 0.2)
    assert (ours - without).item() > 1e-2
    plain = preset("mochi", mixed=0, with_query=0).build()(a=a, b=b, bank=bank).total
    torch.testing.assert_close(plain, without, rtol=0, atol=1e-12)
    moco = preset("moco", tau=0.2).build()(a=a, b=b, bank=bank).total
    torch.testing.assert_close(moco, without, rtol=0, atol=1e-12)


def test_mochi_of_whole_shares_repeats_the_originals(monkeypatch):
    a, b, bank = draw(5, 4), draw(5, 4, seed=1), draw(12, 4, seed=2)
    monkeypatch.setattr(
        made, "uniform", lambda shape, *, like, generator: torch.ones(shape).double()
    )
    sizes = {"hardest": 4, "mixed": 6, "with_query": 0}
    rows = made.mochi(a.detach(), bank.detach(), **sizes, generator=source()).rows[..., 0]
    ours = preset("mochi", **sizes).build()(a=a, b=b, bank=bank, generator=source()).total
    agree(ours, mochi_by_loops(a, b, bank, bank.detach()[rows], 0.2), [a])


def test_mochi_of_the_single_hardest_counts_it_again():
    a, b, bank = draw(5, 4), draw(5, 4, seed=1), draw(12, 4, seed=2)
    sizes = {"hardest": 1, "mixed": 3, "with_query": 0}
    ours = preset("mochi", **sizes).build()(a=a, b=b, bank=bank).total
    unit = torch.nn.functional.normalize
    top = (unit(a) @ unit(bank).T).argmax(1)
    repeated = bank.detach()[top][:, None].expand(-1, 3, -1)
    agree(ours, mochi_by_loops(a, b, bank, repeated, 0.2), [a])
    with pytest.raises(ConventionError, match="hardest"):
        preset("mochi", hardest=0).build()(a=a, b=b, bank=bank)
    with pytest.raises(ShapeError, match="bank"):
        preset("mochi").build()(a=a, b=b, bank=bank[:0])


@pytest.mark.parametrize("positives, negatives", [(2.0, 1.6), (2.0, None), (None, 1.6)])
@pytest.mark.parametrize("per_dimension", [True, False])
def test_feature_transformation_by_loops(positives, negatives, per_dimension):
    a, b, bank = draw(5, 4), draw(5, 4, seed=1), draw(7, 4, seed=2)
    settings = {"positives": positives, "negatives": negatives, "per_dimension": per_dimension}
    loss = preset("feature_transformation", **settings).build()
    ours = loss(a=a, b=b, bank=bank, generator=source()).total
    generator = source()
    q = torch.stack([row / sum(row * row).sqrt() for row in a])
    k, n = (torch.stack([r / sum(r * r).sqrt() for r in x]).detach() for x in (b, bank))
    share, mu, partner = torch.ones(5, 1).double(), torch.ones(7, 1).double(), torch.arange(7)
    if positives:
        share = made.extrapolate_positives(
            q, k, concentration=positives, per_dimension=per_dimension, generator=generator
        ).share
        assert bool((share >= 1).all())
    if negatives:
        mixed = made.interpolate_negatives(
            n, concentration=negatives, per_dimension=per_dimension, generator=generator
        )
        mu, partner = mixed.share, mixed.partner
    total = 0.0
    for i in range(5):
        moved = share[i] * q[i] + (1 - share[i]) * k[i]
        key = share[i] * k[i] + (1 - share[i]) * q[i]
        logits = [sum(moved * key) / 0.07]
        for j in range(7):
            between = mu[j] * n[j] + (1 - mu[j]) * n[partner[j]]
            logits.append(sum(moved * between) / 0.07)
        total = total + softmax_loss(logits[0], logits)
    agree(ours, total / 5, [a])


def test_feature_transformation_without_any_is_moco():
    a, b, bank = draw(5, 4), draw(5, 4, seed=1), draw(7, 4, seed=2)
    none = preset("feature_transformation", positives=None, negatives=None).build()
    moco = preset("moco").build()(a=a, b=b, bank=bank).total
    agree(none(a=a, b=b, bank=bank).total, moco, [a])
    harder = preset("feature_transformation", negatives=None, per_dimension=False).build()
    assert (harder(a=a, b=b, bank=bank, generator=source()).total - moco).item() > 0.1


def test_hallucinator_by_loops():
    loss = preset("hallucinator", dim=4, weight=0.5, reach=0.8, hidden=6).build().double()
    network = loss.networks[0].network
    torch.nn.init.normal_(network.residual[2].weight)
    a, b = draw(5, 4), draw(5, 4, seed=1)
    share = 0.8 * torch.rand(5, 1, generator=source(), dtype=torch.float64)
    first, _, last = network.residual
    rows = []
    for i in range(5):
        u, v = b[i] / sum(b[i] * b[i]).sqrt(), a[i] / sum(a[i] * a[i]).sqrt()
        x = u + share[i] * (u - v)
        rows.append(x + last.weight @ torch.relu(first.weight @ x + first.bias) + last.bias)
    theirs = infonce_by_loops(a, b, 0.1) + 0.5 * infonce_by_loops(a, torch.stack(rows), 0.1)
    agree(loss(a=a, b=b, generator=source()).total, theirs, [a, b, *loss.parameters()])


def test_hallucinator_without_reach_repeats_the_base_loss():
    a, b = draw(5, 4), draw(5, 4, seed=1)
    value = preset("hallucinator", dim=4, reach=0.0).build().double()(a=a, b=b)
    torch.testing.assert_close(value.terms["hallucinated"], value.terms["infonce"])
    infonce = preset("infonce").build()(a=a, b=b).total
    torch.testing.assert_close(value.total, 2 * infonce, rtol=0, atol=1e-10)
    far = preset("hallucinator", dim=4).build().double()(a=a, b=b, generator=source())
    assert abs((far.terms["hallucinated"] - far.terms["infonce"]).item()) > 1e-3
    with pytest.raises(ConventionError, match="reach"):
        preset("hallucinator", dim=4, reach=-1.0).build()


def supremix_by_loops(z, label, distance, mixtures, tau=0.3):
    """mixtures: (inclusive, exclusive); distances of labels by the function given."""
    inclusive, exclusive = mixtures
    values = []
    for i in range(len(z)):
        terms, positives = [], []
        for j in range(len(z)):
            if j != i:
                d = float(distance(label[i], label[j]))
                logit = cosine(z[i], z[j]) / tau
                terms.append((1 + d) * torch.exp(logit))
                if d < 1e-12:
                    positives.append((1.0, logit))
        for s in range(inclusive.z.shape[1]):
            d = float(distance(label[i], inclusive.label[i, s]))
            if inclusive.weight[i, s] > 0:
                terms.append((1 + d) * torch.exp(cosine(z[i], inclusive.z[i, s]) / tau))
        for s in range(exclusive.z.shape[1]):
            w = float(exclusive.weight[i, s])
            if w > 0:
                logit = cosine(z[i], exclusive.z[i, s]) / tau
                terms.append(w * torch.exp(logit))
                positives.append((w, logit))
        pull = sum(w * x for w, x in positives) / sum(w for w, _ in positives)
        values.append(torch.log(sum(terms)) - pull)
    return sum(values) / len(values)


def around(x, y):
    return abs((float(x) - float(y) + 180) % 360 - 180)


CASES = {
    "numbers": (torch.tensor([0.0, 1.0, 1.0, 2.5, 4.0, 9.0]), 3.0, None),
    "integers": (torch.tensor([0, 1, 1, 2, 4, 9]), 3.0, None),
    "angles": (torch.tensor([350.0, 5.0, 20.0, 60.0, 200.0, 190.0]), 40.0, 360.0),
}


@pytest.mark.parametrize("case", CASES)
def test_supremix_by_loops(case):
    label, window, period = CASES[case]
    label = label.double() if label.is_floating_point() else label
    a, b = draw(6, 4), draw(6, 4, seed=1)
    loss = preset("supremix", negatives=3, positives=2, window=window, period=period).build()
    ours = loss(a=Side.of(a, label=label), b=Side.of(b, label=label), generator=source()).total
    z, y, generator = torch.cat([a, b]), torch.cat([label, label]), source()
    rows = (z / z.square().sum(1, keepdim=True).sqrt()).detach()
    inside = anchor_inclusive(rows, y, count=3, period=period, generator=generator)
    outside = anchor_exclusive(rows, y, window=window, count=2, period=period, generator=generator)
    assert torch.equal(outside.label, y.double()[:, None].expand(-1, 2))
    assert 0 < int(outside.valid.sum()) < 12
    distance = around if period else lambda x, y: abs(x - y)
    agree(ours, supremix_by_loops(z, y, distance, (inside, outside)), [a, b])


def test_supremix_of_rotations_by_loops():
    turn = 0.4 * draw(6, 3, seed=3).detach()
    label = SO3().exp(turn)
    a, b = draw(6, 4), draw(6, 4, seed=1)
    settings = {"window": 2.0, "bandwidth": 0.2}
    loss = preset("supremix", negatives=3, positives=2, **settings).build()
    ours = loss(a=Side.of(a, label=label), b=Side.of(b, label=label), generator=source()).total
    z, y, generator = torch.cat([a, b]), torch.cat([label, label]), source()
    rows = (z / z.square().sum(1, keepdim=True).sqrt()).detach()
    inside = anchor_inclusive(rows, y, count=3, generator=generator)
    outside = anchor_exclusive_rotations(rows, y, count=2, **settings, generator=generator)
    theirs = supremix_by_loops(z, y, SO3().distance, (inside, outside))
    agree(ours, theirs, [a, b])
    with pytest.raises(ConventionError, match="window"):
        preset("supremix").build()(a=Side.of(a, label=label), b=Side.of(b, label=label))


def test_supremix_without_mixtures_does_not_depend_on_the_order_of_rows():
    label = CASES["numbers"][0].double()
    a, b, order = draw(6, 4), draw(6, 4, seed=1), torch.tensor([3, 5, 0, 1, 4, 2])
    loss = preset("supremix", negatives=0, positives=0).build()
    value = loss(a=Side.of(a, label=label), b=Side.of(b, label=label)).total
    moved = loss(
        a=Side.of(a[order], label=label[order]), b=Side.of(b[order], label=label[order])
    ).total
    torch.testing.assert_close(moved, value, rtol=0, atol=1e-12)
    same = torch.zeros(6)
    one = loss(a=Side.of(a, label=same), b=Side.of(b, label=same)).total
    supcon = preset("supcon_out", tau=0.3).build()
    same = same.long()
    expected = supcon(a=Side.of(a, label=same), b=Side.of(b, label=same)).total
    torch.testing.assert_close(one, expected, rtol=0, atol=1e-12)


def squares(h, b):
    return ((h - b.get("task")) ** 2).sum(1)


def fourths(h, b):
    return ((h - b.get("task")) ** 4).sum(1)


def test_claps_by_loops():
    a, b, task = draw(4, 3), draw(4, 3, seed=1), draw(4, 3, seed=2).detach()
    loss = preset("claps", task_loss=squares, divergence=fourths, tau=0.5).build()
    ours = loss(a=a, b=Side.of(b, task=task)).total

    def step(f, h):
        h = h.detach().requires_grad_()
        (g,) = torch.autograd.grad(f(h), h)
        return torch.stack([row / sum(row * row).sqrt() for row in g])

    still = a.detach()
    bad = b.detach() + step(lambda h: ((h - task) ** 2).sum(), b)
    far = b.detach() + 3 * step(lambda h: infonce_by_loops(still, h, 0.5), b)
    good = far - 3 * step(lambda h: ((h - task) ** 4).sum(), far)
    total = 0.0
    for i in range(4):
        logits = [cosine(a[i], b[j]) / 0.5 for j in range(4)]
        negative, positive = cosine(a[i], bad[i]) / 0.5, cosine(a[i], good[i]) / 0.5
        total = total + softmax_loss(logits[i], [*logits, negative]) / 2
        total = total + softmax_loss(positive, [*logits[:i], *logits[i + 1 :], positive]) / 2
    agree(ours, total / 4, [a, b])
    with pytest.raises(ShapeError, match="3 of b"):
        loss(a=a, b=Side.of(b[:3], task=task[:3]))
    with pytest.raises(ConventionError, match="task_loss"):
        preset("claps").build()


def test_own_candidates_are_refused_where_they_cannot_be_placed():
    z = Side.of(torch.eye(3), id=torch.arange(3), density=torch.ones(3))
    value = contrast(z, z, Same("id"), tau=1.0, own=repelling(torch.zeros(3, 2))).mean()
    assert value.item() == pytest.approx(-1 + math.log(math.e + 4), abs=1e-6)
    with pytest.raises(ShapeError, match="3 anchors"):
        contrast(z, z, Same("id"), own=repelling(torch.zeros(2, 2)))
    with pytest.raises(ConventionError, match="own candidates"):
        contrast(z, z, Same("id"), own=repelling(torch.zeros(3, 2)), method="tiled")
    with pytest.raises(ConventionError, match="temperature"):
        contrast(z, z, Same("id"), tau=PerCandidate("density"), own=repelling(torch.zeros(3, 2)))
    with pytest.raises(ShapeError, match="weights"):
        Own(torch.zeros(3, 2), repelling(torch.zeros(3, 1)).tile)
