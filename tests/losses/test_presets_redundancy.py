"""Barlow, BarLIP, W-MSE and shuffled group whitening against loops and closed forms."""

import math

import pytest
import torch
from preset_oracles import agree, draw
from preset_oracles import cos as cosine

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import Side, preset


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def infonce_by_loops(q, k, tau):
    n = len(q)
    logits = [[cosine(q[i], k[j]) / tau for j in range(n)] for i in range(n)]
    return sum(torch.log(sum(map(torch.exp, row))) - row[i] for i, row in enumerate(logits)) / n


def barlow_by_loops(a, b, redundancy=5e-3):
    n, d = a.shape

    def standard(u, j):
        mean = sum(u[:, j]) / n
        return [(x - mean) / (sum((y - mean) ** 2 for y in u[:, j]) / n + 1e-5).sqrt()
                for x in u[:, j]]  # fmt: skip

    left, right = ([standard(u, j) for j in range(d)] for u in (a, b))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = sum(x * y for x, y in zip(left[i], right[j], strict=True)) / n
            total = total + ((1 - c) ** 2 if i == j else redundancy * c**2)
    return total


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_barlow_by_loops(shape):
    a, b = draw(*shape), draw(*shape, seed=1)
    ours = preset("barlow", redundancy=0.02, scale=2.0).build()(a=a, b=b).total
    agree(ours, 2 * barlow_by_loops(a, b, 0.02), [a, b])
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
    moved = preset("barlow", redundancy=0.02, scale=2.0).build()(a=a[order], b=b[order]).total
    torch.testing.assert_close(moved, ours, rtol=0, atol=1e-10)


def test_barlip_by_loops():
    loss = preset("barlip").build().double()
    a, b = draw(6, 4), draw(6, 4, seed=1)
    (log_tau,) = loss.parameters()
    tau = log_tau.exp()
    theirs = (infonce_by_loops(a, b, tau) + infonce_by_loops(b, a, tau)) / 2
    agree(loss(a=a, b=b).total, theirs + 0.025 * barlow_by_loops(a, b), [a, b, log_tau])
    assert abs((loss(a=a, b=b).total - theirs).item()) > 1e-3


def moments_by_loops(z, eps):
    n, d = z.shape
    mean = [sum(z[:, j]) / n for j in range(d)]
    centred = [[z[i, j] - mean[j] for j in range(d)] for i in range(n)]
    rows = [
        torch.stack(
            [sum(row[i] * row[j] for row in centred) / n + eps * (i == j) for j in range(d)]
        )
        for i in range(d)
    ]
    return torch.stack([torch.stack(row) for row in centred]), torch.stack(rows)


def zca_by_loops(z, eps=1e-5, gradient=True):
    centred, covariance = moments_by_loops(z, eps)
    covariance = covariance if gradient else covariance.detach()
    values, vectors = torch.linalg.eigh(covariance)
    d = len(values)
    root = torch.stack(
        [
            torch.stack(
                [
                    sum(vectors[i, k] * vectors[j, k] / values[k].sqrt() for k in range(d))
                    for j in range(d)
                ]
            )
            for i in range(d)
        ]
    )
    return centred @ root.T


def test_w_mse_by_loops():
    a, b = draw(8, 3), draw(8, 3, seed=1)
    white = []
    for z in (a, b):
        centred, covariance = moments_by_loops(z, 1e-5)
        white.append(centred @ torch.linalg.inv(torch.linalg.cholesky(covariance)).T)
    theirs = sum(2 - 2 * cosine(white[0][i], white[1][i]) for i in range(8)) / 8
    agree(preset("w_mse").build()(a=a, b=b).total, theirs, [a, b])


def test_w_mse_ignores_scales_of_columns_and_the_order_of_rows():
    a, b = draw(8, 3), draw(8, 3, seed=1)
    loss = preset("w_mse", eps=1e-12).build()
    scales = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    assert (loss(a=a, b=a * scales + 1).total).item() < 1e-10
    assert (loss(a=a, b=b).total).item() > 0.1
    order = torch.tensor([3, 1, 0, 7, 6, 2, 5, 4])
    torch.testing.assert_close(loss(a=a[order], b=b[order]).total, loss(a=a, b=b).total)
    with pytest.raises(ShapeError, match="rows"):
        preset("w_mse", rows=3).build()(a=a, b=b)


def sgw_by_loops(z, groups, orders, tau=0.05, gradient=True):
    d = z.shape[1]
    size = d // groups
    copies = []
    for order in orders:
        columns = [None] * d
        for g in range(groups):
            chosen = order[g * size : (g + 1) * size]
            white = zca_by_loops(torch.stack([z[:, c] for c in chosen], 1), gradient=gradient)
            for place, c in enumerate(chosen):
                columns[int(c)] = white[:, place]
        copies.append(torch.stack(columns, 1))
    return sum(infonce_by_loops(copies[0], copy, tau) for copy in copies[1:])


@pytest.mark.parametrize("gradient", [True, False])
def test_sgw_by_loops(gradient):
    z = draw(7, 6)
    loss = preset("sgw", groups=2, gradient=gradient, tau=0.5).build()
    generator = torch.Generator().manual_seed(3)
    orders = [torch.randperm(6, generator=generator) for _ in range(3)]
    ours = loss(a=z, generator=torch.Generator().manual_seed(3)).total
    agree(ours, sgw_by_loops(z, 2, orders, tau=0.5, gradient=gradient), [z])
    same = sgw_by_loops(z, 2, [orders[0]] * 3, tau=0.5)
    assert abs((ours - same).item()) > 1e-3


def test_sgw_in_groups_of_one_is_standardization():
    z = draw(7, 6)
    value = preset("sgw", groups=6, copies=2, tau=0.5, eps=1e-12).build()(a=z).total
    standard = (z - z.mean(0)) / z.var(0, correction=0).sqrt()
    torch.testing.assert_close(value, infonce_by_loops(standard, standard, 0.5))
    three = preset("sgw", groups=6, copies=3, tau=0.5, eps=1e-12).build()(a=z).total
    torch.testing.assert_close(three, 2 * value)
    # two rows: after centring they are opposite, whatever the columns
    pair = preset("sgw", groups=6, copies=2, tau=0.5, eps=1e-12).build()(a=draw(2, 6)).total
    assert (pair).item() == pytest.approx(math.log(1 + math.exp(-4)), abs=1e-9)


def test_sgw_refuses_vectors_and_single_copies():
    with pytest.raises(ConventionError, match="degree 0"):
        preset("sgw", groups=2).build()(a=Side.of(draw(5, 6), irreps="2x1o"))
    with pytest.raises(ConventionError, match="copies"):
        preset("sgw", copies=1).build()
    with pytest.raises(ShapeError, match="divisor"):
        preset("sgw", groups=4).build()(a=draw(5, 6))
