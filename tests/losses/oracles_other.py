"""Oracles of the modality, temperature, space and equivariant families, and of VICReg."""

import torch
from oracles_softmax import views
from preset_oracles import (
    Oracle,
    apart,
    both,
    cos,
    infonce,
    log_sum,
    mean,
    nt_xent,
    vectors,
)  # fmt: skip

from equivariant.actions import Vectors
from equivariant.groups import SO3
from equivariant.losses import Learned, Side


def learned(loss):
    (found,) = {m for m in loss.modules() if isinstance(m, Learned)}
    return found.log_tau.exp()


def two_ways(a, b, tau, forward=0.5):
    return forward * infonce(a, b, tau) + (1 - forward) * infonce(b, a, tau)


def siglip(sides, loss):
    a, b = sides["a"], sides["b"]
    (bias,) = loss.numbers
    t = 1 / learned(loss)
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            y = 1 if i == j else -1
            total = total + (1 + (-y * (t * cos(a[i], b[j]) + bias)).exp()).log()
    return total / len(a)


def featured(draw):
    return {name: Side.of(draw.leaf(5, 4), features=draw(5, 3)) for name in ("a", "b")}


def cwcl(sides, loss):
    (a, b), tau, rows = vectors_of(sides), learned(loss), []
    p, q = (sides[name].get("features") for name in ("a", "b"))
    for i in range(5):
        weights = [(1 + cos(p[i], q[j])) / 2 for j in range(5)]
        logits = [cos(a[i], b[j]) / tau for j in range(5)]
        cross = [w * (log_sum(logits) - s) for w, s in zip(weights, logits, strict=True)]
        rows.append(sum(cross) / sum(weights))
    return mean(rows) + infonce(b, a, tau)


def vectors_of(sides):
    return vectors(sides["a"]), vectors(sides["b"])


def uniform(z, t=2.0, unit=True):
    n = len(z)
    return mean(
        (-t * apart(z[i], z[j], unit)).exp() for i in range(n) for j in range(n) if i != j
    ).log()


def gap(sides, loss):
    a, b = vectors_of(sides)
    cross = mean((-2 * apart(a[i], b[j])).exp() for i in range(5) for j in range(5) if i != j)
    align = mean(apart(a[i], b[i]) for i in range(5))
    spread = 0.5 * (uniform(a) + uniform(b))
    return two_ways(a, b, learned(loss)) + spread + cross.log() + align


def three(draw):
    return {"a": draw.leaf(4, 3), "b": draw.leaf(4, 3), "c": draw.leaf(4, 3)}


def mip(*vectors):
    total = 0.0
    for d in range(len(vectors[0])):
        entry = 1.0
        for v in vectors:
            entry = entry * v[d] / (v * v).sum().sqrt()
        total = total + entry
    return total


def symile_all(sides, loss):
    tau, rows = learned(loss), []
    z = [sides[name] for name in "abc"]
    for m in range(3):
        anchor, first, second = z[m], z[(m + 1) % 3], z[(m + 2) % 3]
        for i in range(4):
            every = [mip(anchor[i], first[j], second[k]) / tau for j in range(4) for k in range(4)]
            rows.append(log_sum(every) - every[5 * i])
    return mean(rows)


def symile(sides, loss):
    """Without a generator: the shuffles come from PyTorch's own, seeded by the test."""
    tau, rows, names = learned(loss), [], list(sides)
    torch.manual_seed(1)
    for anchor in names:
        others = [sides[name] for name in names if name != anchor]
        orders = [torch.randperm(4).tolist() for _ in others]
        for i in range(4):
            logits = [mip(sides[anchor][i], *(z[i] for z in others)) / tau]
            for j in range(4):
                rows_of_j = [order[j] for order in orders]
                if j != i and any(row != i for row in rows_of_j):
                    mixed = [z[row] for z, row in zip(others, rows_of_j, strict=True)]
                    logits.append(mip(sides[anchor][i], *mixed) / tau)
            rows.append(log_sum(logits) - logits[0])
    return mean(rows)


def seeded_three(draw):
    torch.manual_seed(1)
    return three(draw)


def seeded_four(draw):
    torch.manual_seed(1)
    return {**three(draw), "d": draw.leaf(4, 3)}


def sampled(draw):
    sample = torch.tensor([4, 0, 2, 6, 1])
    return {"a": Side.of(draw.leaf(5, 4), sample=sample), "b": draw.leaf(5, 4)}


def robust(z, i, p, tau, rho):
    h = [(cos(z[i], z[j]) - cos(z[i], z[p])) / tau for j in range(len(z)) if j not in (i, p)]
    return tau * (mean(x.exp() for x in h)).log() + tau * rho


def isogclr(sides, loss):
    z, partner = both(sides)
    return mean(robust(z, i, partner[i], 0.25, 2.0) for i in range(len(z)))


def tempnet(sides, loss):
    z, partner = both(sides)
    network = next(m for m in loss.modules() if hasattr(m, "prototypes"))
    rows = []
    for i in range(len(z)):
        x = 1 / (1 + (-(network.project.weight @ z[i].detach() + network.project.bias)).exp())
        c = [(x @ p) / (p * p).sum().sqrt() for p in network.prototypes]
        e = [(s / network.log_scale.exp()).exp() for s in c]
        gated = [(u / sum(e) - 1 / len(c)) / (1 + (-s).exp()) for u, s in zip(e, c, strict=True)]
        score = sum(w * g for w, g in zip(network.last.weight[0], gated, strict=True))
        tau = 0.1 + 0.4 / (1 + (-(score + network.last.bias[0])).exp())
        rows.append(robust(z, i, partner[i], tau, 1.5))
    return mean(rows)


def heads(draw):
    return {"a": draw.leaf(5, 6), "b": draw.leaf(5, 6)}


def amcl(sides, loss):
    network = next(m for m in loss.modules() if hasattr(m, "network")).network

    def one_way(u, v):
        rows = []
        for i in range(5):
            tau = [
                0.05 + 1.95 / (1 + (network(u[i]) * network(v[j])).sum().exp()) for j in range(5)
            ]
            s = [cos(u[i], v[j]) for j in range(5)]
            top = sorted((j for j in range(5) if j != i), key=lambda j: s[j].item())[-2:]
            pull = -s[i] / tau[i] + 0.2 * (1.5 * tau[i].log() + 1 / tau[i])
            push = mean(s[j] / tau[j] - 0.2 * (tau[j].log() + 1 / tau[j]) for j in top)
            rows.append(pull + push)
        return mean(rows)

    total = 0.0
    for head in range(2):
        u, v = (sides[name][:, 3 * head : 3 * head + 3] for name in ("a", "b"))
        total = total + (one_way(u, v) + one_way(v, u)) / 2
    return total


def cacr(sides, loss):
    z, partner = both(sides)
    rows = []
    for i in range(len(z)):
        far = [apart(z[i], z[j]) for j in range(len(z)) if j not in (i, partner[i])]
        weight = [(-0.9 * d).exp() for d in far]
        push = sum(w * d for w, d in zip(weight, far, strict=True)) / sum(weight)
        rows.append(apart(z[i], z[partner[i]]) - push)
    return mean(rows)


def align_uniform(sides, loss):
    a, b = vectors_of(sides)
    return mean(map(apart, a, b)) + 0.7 * 0.5 * (uniform(a, 1.5) + uniform(b, 1.5))


TARGET = torch.tensor([1, 0, 1, 1, 0])


def parted(draw):
    return {name: Side.of(draw.leaf(5, 3), salient=draw.leaf(5, 2), target=TARGET) for name in "ab"}


def sepclr(sides, loss):
    a, b = sides["a"], sides["b"]
    c, s = [*a.z, *b.z], [*a.get("salient"), *b.get("salient")]
    target, width = [*TARGET.tolist()] * 2, 2 * 0.4
    common = mean(map(apart, a.z, b.z)) / width + 2 * uniform(c, 1 / width)
    of_targets = [apart(s[i], s[i + 5], False) / width for i in range(5) if target[i]]
    replaced = [x * y for x, y in zip(s, target, strict=True)]
    salient = mean(of_targets) + 2 * uniform(replaced, 1 / width, False)
    zero = mean((x * x).sum() / width for x, y in zip(s, target, strict=True) if not y)

    def joint(i):
        both_near = [
            (-apart(c[i], c[j]) / width).exp()
            * (-apart(replaced[i], replaced[j], False) / width).exp()
            for j in range(10)
        ]
        return mean(both_near).log()

    return common + 3 * salient + 5 * zero + 7 * mean(map(joint, range(10)))


def classed(draw):
    return {
        "a": Side.of(draw.leaf(6, 4), label=torch.tensor([0, 1, 0, 2, 1, 0])),
        "b": Side.of(draw.leaf(6, 4), label=torch.tensor([1, 0, 1, 2, 0, 2])),
    }


def hydra(sides, loss):
    module = next(m for m in loss.modules() if hasattr(m, "logits"))
    a, b = sides["a"], sides["b"]
    total = 0.0
    for rows, row in (([0, 1, 2, 4], 1), ([3], 5), ([5], 3)):  # classes {0,1}, {2,2}, {0,2}
        gate = 1 / (1 + (-module.logits[row]).exp())
        z = [*(gate * a.z[i] for i in rows), *(gate * b.z[i] for i in rows)]
        n = len(rows)
        total = total + 2 * n * nt_xent(z, [(i + n) % (2 * n) for i in range(2 * n)], 0.1)
    return total / 12


def moved_views(draw):
    return {"a": draw.leaf(5, 7), "b": draw.leaf(5, 7), "moved": draw.leaf(5, 7)}


def half_variance(z):
    total = 0.0
    for d in range(len(z[0])):
        center = mean(row[d] for row in z)
        var = sum((row[d] - center) ** 2 for row in z) / (len(z) - 1)
        total = total + (1 - (var + 1e-4).sqrt()).clamp(min=0)
    return 0.5 * total / len(z[0])


def correlated(z):
    n, width, total = len(z), len(z[0]), 0.0
    center = [mean(row[d] for row in z) for d in range(width)]
    for d in range(width):
        for e in range(width):
            if d != e:
                c = sum((row[d] - center[d]) * (row[e] - center[e]) for row in z) / (n - 1)
                total = total + c * c / width
    return total


def squares(u, v):
    return mean((x[d] - y[d]) ** 2 for x, y in zip(u, v, strict=True) for d in range(len(x)))


def spread(sides):
    return half_variance(sides["a"]) + half_variance(sides["b"])


def sie(sides, loss):
    a, b, m = sides["a"], sides["b"], sides["moved"]
    return (
        10 * squares(m[:, :3], b[:, :3])
        + 4.5 * squares(m[:, 3:], b[:, 3:])
        + 10 * spread(sides)
        + 10 * half_variance(m[:, 3:])
        + correlated(a)
        + correlated(b)
    )


def vicreg(sides, loss):
    together = correlated(sides["a"]) + correlated(sides["b"])
    return 10 * squares(sides["moved"], sides["b"]) + 10 * spread(sides) + together


def contrast_moved(m, b):
    return nt_xent([*m, *b], [5, 6, 7, 8, 9, 0, 1, 2, 3, 4], 0.1)


def exact(sides, loss):
    b, m = sides["b"], sides["moved"]
    equivariant = {name: z[:, 3:] for name, z in sides.items()}
    return (
        contrast_moved(m[:, :3], b[:, :3])
        + contrast_moved(m[:, 3:], b[:, 3:])
        + squares(m[:, 3:], b[:, 3:])
        + spread(equivariant)
    )


def equimod(sides, loss):
    a, b, m = sides["a"], sides["b"], sides["moved"]
    return contrast_moved(a[:, :3], b[:, :3]) + 2 * contrast_moved(m[:, 3:], b[:, 3:])


def equimod_split(sides, loss):
    a, b, m = sides["a"], sides["b"], sides["moved"]
    return contrast_moved(a[:, :3], b[:, :3]) + 2 * infonce(m[:, 3:], b[:, 3:], 0.1)


def equivariant_nce(sides, loss):
    moved = sides["moved"]
    return infonce(moved, sides["b"], 0.1) + 3 * half_variance(moved)


def posed(draw):
    poses = SO3().sample(10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return {
        "a": Side.of(draw.leaf(5, 6), pose=poses[:5]),
        "b": Side.of(draw.leaf(5, 6), pose=poses[5:]),
    }


def canonical(sides, loss):
    z, partner = both(sides)
    pose = [*sides["a"].pose, *sides["b"].pose]
    found = []
    for i in range(10):
        s = {}
        for j in range(10):
            turn = pose[j] @ torch.linalg.inv(pose[i])
            s[j] = cos(torch.cat([turn @ z[i][:3], turn @ z[i][3:]]), z[j]) / 0.1
        found.append(log_sum(s[j] for j in s if j != i) - s[partner[i]])
    return mean(found)


HALVES = (slice(0, 3), slice(3, 7))

ORACLES = {
    "clip": Oracle(views, lambda s, loss: two_ways(s["a"], s["b"], learned(loss))),
    "convirt": Oracle(views, lambda s, _: two_ways(s["a"], s["b"], 0.1, 0.75)),
    "siglip": Oracle(views, siglip),
    "cwcl": Oracle(featured, cwcl),
    "contrastive_gap": Oracle(views, gap),
    "symile": Oracle(seeded_three, symile),
    "symile, four": Oracle(seeded_four, symile, {"modalities": "abcd"}),
    "symile_all": Oracle(three, symile_all),
    "isogclr": Oracle(sampled, isogclr, {"samples": 7, "start": 0.25, "rho": 2.0}),
    "tempnet": Oracle(
        views, tempnet, {"dim": 4, "prototypes": 3, "low": 0.1, "high": 0.5, "rho": 1.5}
    ),
    "amcl": Oracle(heads, amcl, {"dim": 3, "heads": 2, "negatives": 2, "beta": 0.2, "hidden": 5}),
    "cacr": Oracle(views, cacr),
    "align_uniform": Oracle(views, align_uniform, {"weight": 0.7, "t": 1.5}),
    "sepclr": Oracle(parted, sepclr, {"tau": 0.4, "salient": 3.0, "zero": 5.0, "joint": 7.0}),
    "hydra": Oracle(classed, hydra, {"classes": 3, "dim": 4}),
    "sie": Oracle(moved_views, sie, slices=HALVES),
    "vicreg": Oracle(moved_views, vicreg),
    "simclr": Oracle(moved_views, lambda s, _: contrast_moved(s["moved"], s["b"])),
    "exact": Oracle(moved_views, exact, slices=HALVES),
    "equimod": Oracle(moved_views, equimod, {"equivariance": 2.0}, HALVES),
    "equimod_split": Oracle(moved_views, equimod_split, {"equivariance": 2.0}, HALVES),
    "equivariant_nce": Oracle(moved_views, equivariant_nce, {"std_moved": 3.0}),
    "canonical_nce": Oracle(posed, canonical, {"action": Vectors(SO3(), channels=2)}),
}
