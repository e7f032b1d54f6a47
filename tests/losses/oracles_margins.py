"""Losses with margins, by loops over pairs of rows and the papers' formulas."""

import torch
from preset_oracles import Oracle, apart, cos, mean

from equivariant.losses import Side

LABEL = torch.tensor([0, 1, 0, 2, 1, 0, -1])  # the last row has no label, and no positive


def one_view(draw):
    return {"a": Side.of(draw.leaf(7, 4), label=LABEL)}


def rows(sides):
    """Each anchor's positives and negatives, as vectors."""
    z, label = sides["a"].z, LABEL.tolist()
    for i in range(7):
        same = [label[j] == label[i] >= 0 for j in range(7)]
        yield (
            z[i],
            [z[j] for j in range(7) if same[j] and j != i],
            [z[j] for j in range(7) if not same[j] and j != i],
        )


def triplet(margin, power):
    def value(sides, loss):
        found = [
            margin
            + max(apart(u, p) ** power for p in near)
            - min(apart(u, n) ** power for n in far)
            for u, near, far in rows(sides)
            if near
        ]
        return mean(x.clamp(min=0) for x in found)

    return value


def circle(m, gamma):
    def value(sides, loss):
        found = []
        for u, near, far in rows(sides):
            p, n = [cos(u, x) for x in near], [cos(u, x) for x in far]
            if not p:
                continue
            pull = sum((gamma * (1 + m - s).clamp(min=0).detach() * (1 - m - s)).exp() for s in p)
            push = sum((gamma * (s + m).clamp(min=0).detach() * (s - m)).exp() for s in n)
            found.append((1 + pull * push).log())
        return mean(found)

    return value


def margin(alpha, beta, counted):
    def over(costs):
        costs = [c for c in costs if c > 0] if counted else costs
        return sum(costs) / len(costs) if costs else 0.0

    def value(sides, loss):
        found = []
        for u, near, far in rows(sides):
            pull = [(apart(u, x).sqrt() - (beta - alpha)).clamp(min=0) for x in near]
            push = [(beta + alpha - apart(u, x).sqrt()).clamp(min=0) for x in far]
            found.append(over(pull) + over(push))
        return mean(found)

    return value


ORACLES = {
    "triplet": Oracle(one_view, triplet(0.4, 1.0), {"margin": 0.4}),
    "triplet, distances": Oracle(one_view, triplet(0.2, 0.5), {"squared": False}),
    "circle": Oracle(one_view, circle(0.3, 8.0), {"margin": 0.3, "gamma": 8.0}),
    "margin": Oracle(one_view, margin(0.2, 1.2, False)),
    "margin, counted": Oracle(one_view, margin(0.2, 1.2, True), {"counted": True}),
}
