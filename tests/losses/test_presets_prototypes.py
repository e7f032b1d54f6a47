"""SwAV, DINO, OBoW, ProtoCLIP, fixed bases and ProtoNCE against loops and closed forms."""

import math

import pytest
import torch
from preset_oracles import agree, draw
from preset_oracles import cos as cosine

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import Side, equiangular_basis, preset


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def cross_entropy(target, logits):
    log_sum = torch.log(sum(torch.exp(x) for x in logits))
    return -sum(t * (x - log_sum) for t, x in zip(target, logits, strict=True))


def codes_by_loops(scores, eps=0.05, iterations=3, shift_rows=False):
    """Sinkhorn on exp(scores / eps): columns first, then rows."""
    n, k = len(scores), len(scores[0])
    scores = [[float(x.detach()) for x in row] for row in scores]
    starts = [max(row) if shift_rows else 0.0 for row in scores]
    q = [
        [math.exp((x - start) / eps) for x in row]
        for row, start in zip(scores, starts, strict=True)
    ]
    for _ in range(iterations):
        columns = [sum(q[i][j] for i in range(n)) for j in range(k)]
        q = [[q[i][j] / columns[j] for j in range(k)] for i in range(n)]
        q = [[x / sum(row) for x in row] for row in q]
    return q


def swav_by_loops(views, prototypes, tau=0.1, **how):
    scores = [[[cosine(z, c) for c in prototypes] for z in view] for view in views]
    values = []
    for t in range(2):
        codes = codes_by_loops(scores[t], **how)
        for s in range(len(views)):
            if s != t:
                for i in range(len(views[s])):
                    values.append(cross_entropy(codes[i], [x / tau for x in scores[s][i]]))
    return sum(values) / len(values)


@pytest.mark.parametrize("names", ["ab", "abcd"])
def test_swav_by_loops(names):
    loss = preset("swav", dim=4, prototypes=6, views=names).build().double()
    views = {name: draw(5, 4, seed=i) for i, name in enumerate(names)}
    (weight,) = loss.parameters()
    ours = loss(**views).total
    agree(ours, swav_by_loops(list(views.values()), weight), [*views.values(), weight])
    twin = swav_by_loops(list(views.values()), weight, shift_rows=True)
    assert abs((ours - twin).item()) > 1e-4


def test_swav_does_not_depend_on_the_order_of_views_and_rows():
    loss = preset("swav", dim=4, prototypes=6, views="abcd").build().double()
    a, b, c, d = (draw(5, 4, seed=i) for i in range(4))
    value = loss(a=a, b=b, c=c, d=d).total
    torch.testing.assert_close(loss(a=b, b=a, c=d, d=c).total, value, rtol=0, atol=1e-12)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = loss(a=a[order], b=b[order], c=c[order], d=d[order]).total
    torch.testing.assert_close(moved, value, rtol=0, atol=1e-12)
    assert abs((loss(a=c, b=b, c=a, d=d).total - value).item()) > 1e-3


def test_swav_with_equal_prototypes_has_uniform_codes():
    loss = preset("swav", dim=4, prototypes=6).build().double()
    (weight,) = loss.parameters()
    weight.data[:] = weight.data[0].clone()
    value = loss(a=draw(5, 4), b=draw(5, 4, seed=1)).total
    assert (value).item() == pytest.approx(math.log(6), abs=1e-12)


def test_refusals_of_views():
    for views in ("a", "aa"):
        with pytest.raises(ConventionError, match="views"):
            preset("swav", dim=4, views=views).build()
    loss = preset("swav", dim=4, prototypes=6).build()
    with pytest.raises(ShapeError, match="width 4"):
        loss(a=torch.ones(3, 5), b=torch.ones(3, 5))
    with pytest.raises(ShapeError, match="every view"):
        loss(a=torch.ones(3, 4), b=torch.ones(2, 4))
    with pytest.raises(ConventionError, match="called 'b'"):
        loss(a=torch.ones(3, 4))


def test_dino_by_loops_and_its_centre():
    loss = preset("dino", dim=4, prototypes=3, views="abc").build().double()
    a, b, c = (draw(5, 4, seed=i) for i in range(3))
    scores = [draw(5, 3, seed=8).detach() / 10, draw(5, 3, seed=9).detach() / 10]
    (weight,) = loss.parameters()
    centre = torch.zeros(3, dtype=torch.float64)
    for _ in range(2):
        values = []
        for t in range(2):
            for s, view in enumerate((a, b, c)):
                for i in range(5):
                    if s != t:
                        shifted = [float(scores[t][i, k] - centre[k]) / 0.04 for k in range(3)]
                        total = sum(math.exp(x) for x in shifted)
                        target = [math.exp(x) / total for x in shifted]
                        logits = [cosine(view[i], w) / 0.1 for w in weight]
                        values.append(cross_entropy(target, logits))
        sides = {"a": Side.of(a, scores=scores[0]), "b": Side.of(b, scores=scores[1]), "c": c}
        agree(loss(**sides).total, sum(values) / len(values), [a, b, c, weight])
        centre = 0.9 * centre + 0.1 * torch.cat(scores).mean(0)
    with pytest.raises(ConventionError, match="scores"):
        loss(a=a, b=b, c=c)


def word_weights_by_loops(words, loss):
    first, norm, _, last = loss.networks[-1].network
    rows = [[sum(w * v) / sum(w * w).sqrt() for v in first.weight] for w in words]
    hidden = []
    for j in range(len(first.weight)):
        column = [row[j] for row in rows]
        mean = sum(column) / len(column)
        var = sum((x - mean) ** 2 for x in column) / len(column)
        scaled = [(x - mean) / (var + 1e-5).sqrt() * norm.weight[j] + norm.bias[j] for x in column]
        hidden.append([torch.relu(x) for x in scaled])
    out = []
    for k in range(len(words)):
        h = torch.stack([hidden[j][k] for j in range(len(hidden))])
        g = torch.stack([sum(h * v) + e for v, e in zip(last.weight, last.bias, strict=True)])
        out.append(g / sum(g * g).sqrt())
    return out


def test_obow_by_loops():
    loss = preset("obow", dim=3, width=4).build().double()
    a, words = draw(5, 3), draw(6, 4, seed=1).detach()
    targets = draw(5, 6, seed=2).detach().softmax(1)
    ours = loss(a=Side.of(a, targets=targets), words=words).total
    g = word_weights_by_loops(words, loss)
    rows = [cross_entropy(targets[i], [8 * sum(a[i] * w) for w in g]) for i in range(5)]
    agree(ours, sum(rows) / 5, [a, *loss.parameters()])
    with pytest.raises(ConventionError, match="kappa"):
        preset("obow", dim=3, width=4, kappa=0.0).build()


def test_obow_makes_targets_of_features():
    loss = preset("obow", dim=3, width=4, sharpness=2.0).build().double()
    a, words = draw(5, 3), draw(6, 4, seed=1).detach()
    features = draw(5, 7, 4, seed=2).detach()
    d = [[[float(sum((f - w) ** 2)) for w in words] for f in image] for image in features]
    scale = sum(min(place) for image in d for place in image) / 35
    targets = []
    for image in d:
        soft = [[math.exp(-2 / scale * x) for x in place] for place in image]
        soft = [[x / sum(place) for x in place] for place in soft]
        most = [max(place[k] for place in soft) for k in range(6)]
        targets.append([x / sum(most) for x in most])
    ours = loss(a=Side.of(a, features=features), words=words).total
    g = word_weights_by_loops(words, loss)
    rows = [cross_entropy(targets[i], [8 * sum(a[i] * w) for w in g]) for i in range(5)]
    agree(ours, sum(rows) / 5, [a])


def means_by_loops(features, cluster):
    members = {k: [f / sum(f * f).sqrt() for f, c in zip(features, cluster, strict=True) if c == k]
               for k in sorted(set(cluster))}  # fmt: skip
    return {k: sum(rows) / len(rows) for k, rows in members.items()}


def protoclip_by_loops(a, features, teachers, cluster, of_a, tau=0.07, softness=None):
    means, taught = means_by_loops(features, cluster), means_by_loops(teachers, cluster)
    values = []
    for z, y in zip(a, of_a, strict=True):
        if softness is None:
            target = [float(k == y) for k in means]
        else:
            likes = [math.exp(float(sum(taught[y] * c)) / softness) for c in taught.values()]
            target = [x / sum(likes) for x in likes]
        length = sum(z * z).sqrt()
        values.append(cross_entropy(target, [sum(z * c) / length / tau for c in means.values()]))
    return sum(values) / len(values)


@pytest.mark.parametrize("name, side", [("protoclip", "other"), ("protoclip_pbt", "own")])
@pytest.mark.parametrize("softness", [None, 0.3])
def test_protoclip_by_loops(name, side, softness):
    loss = preset(name, clusters=5, softness=softness).build().double()
    a, memory = draw(4, 3), draw(9, 3, seed=1).detach()
    teachers = draw(9, 3, seed=2).detach() if side == "own" else memory
    cluster, of_a = [0, 1, 3, 3, 1, 4, 0, 0, 4], [4, 1, 3, 0]  # none in cluster 2
    sides = {
        "a": Side.of(a, cluster=torch.tensor(of_a)),
        "other": Side.of(teachers, cluster=torch.tensor(cluster)),
        side: Side.of(memory, cluster=torch.tensor(cluster)),
    }
    ours = loss(**sides).total
    (log_tau,) = loss.parameters()
    theirs = protoclip_by_loops(a, memory, teachers, cluster, of_a, log_tau.exp(), softness)
    agree(ours, theirs, [a, log_tau])
    with pytest.raises(ConventionError, match="cluster 2"):
        loss(**{**sides, "a": Side.of(a, cluster=torch.tensor([0, 1, 2, 3]))})
    with pytest.raises(ShapeError, match="width"):
        loss(**{**sides, "a": Side.of(torch.ones(4, 2), cluster=torch.tensor(of_a))})


def test_back_translation_does_not_see_a_constant_in_the_other_modality():
    a, other = draw(12, 3), draw(12, 3, seed=1).detach()

    def values(other):
        cluster = torch.cdist(other, other[:4]).argmin(1)
        taught = Side.of(a, cluster=cluster)
        plain = preset("protoclip", clusters=4).build().double()
        translated = preset("protoclip_pbt", clusters=4).build().double()
        return (
            (plain(a=taught, other=Side.of(other, cluster=cluster)).total).item(),
            (translated(a=taught, own=taught).total).item(),
        )

    before, after = values(other), values(other + 3.0)
    assert after[1] == before[1]
    assert abs(after[0] - before[0]) > 0.1


def test_ebv_by_loops_and_in_closed_form():
    basis = equiangular_basis(5, 4, threshold=0.3, generator=torch.Generator().manual_seed(0))
    vectors = basis.vectors.double()
    loss = preset("ebv", basis=vectors).build()
    a, label = draw(6, 4), [0, 4, 2, 2, 1, 3]
    ours = loss(a=Side.of(a, label=torch.tensor(label))).total
    rows = [
        cross_entropy([float(c == y) for c in range(5)], [cosine(z, w) / 0.07 for w in vectors])
        for z, y in zip(a, label, strict=True)
    ]
    agree(ours, sum(rows) / 6, [a])
    assert not list(loss.parameters())
    assert any(value.shape == (5, 4) for value in loss.state_dict().values())
    frame = preset("ebv", basis=torch.eye(4, dtype=torch.float64), tau=0.5).build()
    exact = frame(a=Side.of(2 * torch.eye(4, dtype=torch.float64), label=torch.arange(4))).total
    assert (exact).item() == pytest.approx(-2 + math.log(math.exp(2) + 3), abs=1e-12)
    with pytest.raises(ConventionError, match="label"):
        frame(a=Side.of(torch.eye(4), label=torch.arange(1, 5)))
    with pytest.raises(ConventionError, match="basis="):
        preset("ebv").build()


def test_protonce_by_loops():
    loss = preset("protonce", tau=0.2, instances=0.5).build()
    a, b, centroids = draw(5, 3), draw(5, 3, seed=1), draw(4, 3, seed=2)
    cluster, phi = [3, 0, 0, 1, 2], [0.1, 0.3, 0.2, 0.15]
    ours = loss(
        a=Side.of(a, cluster=torch.tensor(cluster)), b=b,
        centroids=Side.of(
            centroids, cluster=torch.arange(4), density=torch.tensor(phi, dtype=torch.float64)
        ),
    ).total  # fmt: skip
    total = 0.0
    for i in range(5):
        own = [float(i == j) for j in range(5)]
        total += 0.5 * cross_entropy(own, [cosine(a[i], b[j]) / 0.2 for j in range(5)])
        near = [float(cluster[i] == k) for k in range(4)]
        logits = [cosine(a[i], centroids[k]) / phi[k] for k in range(4)]
        total += cross_entropy(near, logits)
    agree(ours, total / 5, [a, b, centroids])
