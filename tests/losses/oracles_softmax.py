"""Oracles of the softmax, supervised and weight families."""

import torch
from preset_oracles import Oracle, both, cos, infonce, log_sum, mean, nt_xent, vectors

from equivariant.losses import Side


def views(draw):
    return {"a": draw.leaf(5, 4), "b": draw.leaf(5, 4)}


def of_two_views(row, tau=None):
    """An objective that is a mean over 2N anchors of a function of the row and its partner."""

    def by_loops(sides, loss):
        z, partner = both(sides)
        return mean(row(z, i, partner[i]) for i in range(len(z)))

    return by_loops


def strangers(z, i, p):
    return [j for j in range(len(z)) if j not in (i, p)]


def dcl_row(z, i, p, tau=0.1, factor=1.0):
    pushed = log_sum(cos(z[i], z[j]) / tau for j in strangers(z, i, p))
    return pushed - factor * cos(z[i], z[p]) / tau


def moco(sides, loss):
    a, b, bank = sides["a"], sides["b"].detach(), sides["bank"].detach()
    rows = []
    for i in range(len(a)):
        own = cos(a[i], b[i]) / 0.07
        rows.append(log_sum([own, *(cos(a[i], k) / 0.07 for k in bank)]) - own)
    return mean(rows)


def dclw(least):
    def by_loops(sides, loss):
        z, partner = both(sides)
        n = len(z) // 2
        with torch.no_grad():
            e = [(cos(z[i], z[i + n]) / 0.1).exp() for i in range(n)]
            w = [2 - n * x / sum(e) for x in e]
            assert min(w) < 0
            w = w if least is None else [max(x, torch.tensor(least).to(x)) for x in w]
        return mean(dcl_row(z, i, partner[i], 0.2, w[i % n]) for i in range(2 * n))

    return by_loops


def hard(z, i, p):
    negatives = sorted((cos(z[i], z[j]) for j in strangers(z, i, p)), key=torch.Tensor.item)[-3:]
    own = cos(z[i], z[p]) / 0.5
    return log_sum([own, *(s / 0.5 for s in negatives)]) - own


def simple(z, i, p):
    return 0.3 * sum(cos(z[i], z[j]) for j in strangers(z, i, p)) - cos(z[i], z[p])


LABEL = torch.tensor([0, 0, 1, 2, 1])


def labelled(draw):
    return {
        "a": Side.of(draw.leaf(5, 4), label=LABEL),
        "b": Side.of(draw.leaf(5, 4), label=torch.tensor([0, 0, 1, 3, 1])),
    }


def supcon(form, tau=0.1):
    def by_loops(sides, loss):
        z, _ = both(sides)
        label = [*sides["a"].label.tolist(), *sides["b"].label.tolist()]
        rows = []
        for i in range(len(z)):
            s = {j: cos(z[i], z[j]) / tau for j in range(len(z)) if j != i}
            positives = [j for j in s if label[j] == label[i]]
            negatives = [s[j] for j in s if label[j] != label[i]]
            if not positives:
                continue
            if form == "out":
                rows.append(mean(log_sum(s.values()) - s[p] for p in positives))
            elif form == "in":
                rows.append(log_sum(s.values()) - log_sum(s[p] for p in positives))
            else:
                rows.append(mean(log_sum([s[p], *negatives]) - s[p] for p in positives))
        assert len(rows) == 8
        return mean(rows)

    return by_loops


def with_queue(draw):
    a = Side.of(draw.leaf(5, 4), label=LABEL)
    return {"a": a, "bank": Side.of(draw(6, 4), label=torch.tensor([0, 1, 2, 2, 1, 0]))}


def look(sides, loss):
    z, known = [*sides["a"].z, *sides["bank"].z], [*sides["a"].label, *sides["bank"].label]
    rows = []
    for i in range(5):
        s = {j: cos(z[i], z[j]) for j in range(len(z)) if j != i}
        near = sorted(s, key=lambda j: s[j].item())[-4:]
        own = [s[j] / 0.1 for j in near if known[j] == known[i]]
        if own:
            rows.append(log_sum(s[j] / 0.1 for j in near) - log_sum(own))
    assert len(rows) > 0
    return mean(rows)


def tokens(draw):
    return {"a": Side.of(draw.leaf(6, 2), sequence=torch.tensor([3, 3, 3, 8, 8, 8]))}


def simctg(sides, loss):
    z, sequence = sides["a"].z, sides["a"].get("sequence")
    total, count = 0.0, 0
    for i in range(6):
        for j in range(6):
            if i != j and sequence[i] == sequence[j]:
                total = total + (0.5 - cos(z[i], z[i]) + cos(z[i], z[j])).clamp(min=0)
                count += 1
    return total / count


def grounded(draw):
    return {
        name: Side.of(draw.leaf(5, 4), foreground=draw(5, 3), background=draw(5, 3))
        for name in ("a", "b")
    }


def genview(sides, loss):
    z, partner = both(sides)
    a, b = sides["a"], sides["b"]
    e = []
    for i in range(5):
        f, g = (cos(a.get(x)[i], b.get(x)[i]) for x in ("foreground", "background"))
        e.append((2.0 * (f - g)).exp())
    rows = []
    for i in range(10):
        others = [cos(z[i], z[j]) / 0.1 for j in range(10) if j != i]
        loss_i = log_sum(others) - cos(z[i], z[partner[i]]) / 0.1
        rows.append(5 * e[i % 5] / sum(e) * loss_i)
    return mean(rows)


def geodesic(draw):
    return {"a": Side.of(draw.leaf(5, 4), geodesic=draw(5, 5).abs()), "b": draw.leaf(5, 4)}


def g2l(sides, loss):
    a, b, rows = sides["a"].z, sides["b"], []
    for i in range(5):
        total = 0.0
        for j in range(5):
            d = sides["a"].get("geodesic")[i, j]
            w = 1.0 if i == j else 1 - (-(d**2) / (2 * 0.7**2)).exp()
            total = total + w * (cos(a[i], b[j]) / 0.1).exp()
        rows.append(total.log() - cos(a[i], b[i]) / 0.1)
    return mean(rows)


CLUSTERS = torch.tensor([[0, 1, 4], [0, 2, 4], [1, 2, 3], [1, 1, 3], [2, 0, 3]])


def clustered(draw):
    centroid = draw.leaf(3, 4)
    return {
        "a": Side.of(draw.leaf(5, 4), clusters=CLUSTERS, cluster=CLUSTERS[:, 0]),
        "b": Side.of(draw.leaf(5, 4), clusters=CLUSTERS),
        "centroids": Side.of(
            centroid, cluster=torch.arange(3), density=torch.tensor([0.3, 0.5, 0.9]).double()
        ),
    }


def meow(sides, loss):
    a, b, c, rows, nearest = sides["a"].z, sides["b"].z, sides["centroids"], [], []
    for i in range(5):
        total = 0.0
        for j in range(5):
            separated = sum(int(CLUSTERS[i, r] != CLUSTERS[j, r]) for r in range(3))
            total = total + separated * (cos(a[i], b[j]) / 0.4).exp()
        rows.append(total.log() - cos(a[i], b[i]) / 0.4)
        logits = [cos(a[i], c.z[m]) / c.get("density")[m] for m in range(3)]
        nearest.append(log_sum(logits) - logits[int(CLUSTERS[i, 0])])
    return mean(rows) + 0.5 * mean(nearest)


def adameow(sides, loss):
    a, b, rows = sides["a"], sides["b"], []
    network = next(m for m in loss.modules() if hasattr(m, "last"))
    for i in range(5):
        total = 0.0
        for j in range(5):
            hidden = (network.first.weight @ (a[i] + b[j]) + network.first.bias).tanh()
            w = 1 / (1 + (-(network.last.weight[0] @ hidden + network.last.bias[0])).exp())
            total = total + w * cos(a[i], b[j]).exp()
        rows.append(total.log() - cos(a[i], b[i]))
    return mean(rows)


def strong(draw):
    strength = draw(5)
    return {name: Side.of(draw.leaf(5, 4), strength=strength) for name in ("a", "b")}


def csgcl(sides, loss):
    z, partner = both(sides)
    cs = [*sides["a"].get("strength"), *sides["b"].get("strength")]

    def logit(i, j):
        return (cos(z[i], z[j]) + 0.6 * (cs[i] + cs[j])) / 0.4

    return mean(
        log_sum(logit(i, j) for j in range(10) if j != i) - logit(i, partner[i]) for i in range(10)
    )


def queue(draw):
    return {"a": draw.leaf(5, 4), "b": draw.leaf(5, 4), "bank": draw(7, 4)}


ORACLES = {
    "infonce": Oracle(views, lambda s, _: infonce(s["a"], s["b"], 0.1)),
    "moco": Oracle(queue, moco),
    "nt_xent": Oracle(views, lambda s, _: nt_xent(*both(s), 0.5)),
    "dcl": Oracle(views, of_two_views(dcl_row)),
    "dclw": Oracle(views, dclw(None), {"tau": 0.2, "sigma": 0.1}),
    "dclw, clamped": Oracle(views, dclw(0.0), {"tau": 0.2, "sigma": 0.1, "least": 0.0}),
    "hard_contrastive": Oracle(views, of_two_views(hard), {"share": 0.3}),
    "simple_contrastive": Oracle(views, of_two_views(simple), {"repulsion": 0.3}),
    "supcon_out": Oracle(labelled, supcon("out")),
    "supcon_in": Oracle(labelled, supcon("in")),
    "supcon_each": Oracle(labelled, supcon("each")),
    "look": Oracle(with_queue, look, {"neighbors": 4}),
    "simctg": Oracle(tokens, simctg),
    "genview": Oracle(grounded, genview, {"gamma": 2.0}),
    "g2l": Oracle(geodesic, g2l, {"bandwidth": 0.7}),
    "meow": Oracle(clustered, meow, {"prototypes": 0.5}),
    "adameow": Oracle(views, adameow, {"dim": 4}),
    "csgcl": Oracle(strong, csgcl, {"gamma": 0.6}),
}

__all__ = ["ORACLES", "vectors"]
