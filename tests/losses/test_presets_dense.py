"""PixPro on points and GroCo against loops and closed forms; several processes."""

import math
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from preset_oracles import agree, draw
from preset_oracles import cos as cosine

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import Side, preset


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def points(count, seed, objects):
    """Features, positions and objects of a view's points."""
    x = draw(count, 3, seed=seed)
    position = draw(count, 2, seed=seed + 50).detach()
    return x, position, torch.tensor(objects)


def spread_by_loops(x, obj, g, gamma, unit_values):
    values = [g.weight @ row + g.bias for row in x]
    if unit_values:
        values = [v / sum(v * v).sqrt() for v in values]
    return [
        sum(
            torch.relu(cosine(x[i], x[j])) ** gamma * values[j]
            for j in range(len(x))
            if obj[i] == obj[j]
        )
        for i in range(len(x))
    ]


def pixpro_by_loops(view, keys, g, radius, gamma=2.0, unit_values=False, by_object=True):
    (x, p, obj), (k, r, of_key) = view, keys
    spread = spread_by_loops(x, obj, g, gamma, unit_values)
    found = {}
    for i in range(len(x)):
        for j in range(len(k)):
            if obj[i] == of_key[j] and sum((p[i] - r[j]) ** 2).sqrt() < radius:
                group = int(obj[i]) if by_object else i
                found.setdefault(group, []).append(cosine(spread[i], k[j].detach()))
    means = [sum(c) / len(c) for c in found.values()]
    return -sum(means) / len(means)


A, B = [7, 7, 7, 7, 2, 2, 9, 4], [2, 7, 7, 2, 2, 7, 9, 9, 4]


def sides(*views):
    names = "abcd"[: len(views)]
    return {n: Side.of(x, position=p, id=o) for n, (x, p, o) in zip(names, views, strict=True)}


@pytest.mark.parametrize("unit_values", [False, True])
@pytest.mark.parametrize("sharpness", [1.0, 2.0])
def test_pixpro_by_loops(unit_values, sharpness):
    settings = {"sharpness": sharpness, "unit_values": unit_values}
    loss = preset("pixpro", dim=3, radius=1.5, **settings).build().double()
    a, b = points(8, 0, A), points(9, 1, B)
    b[1][-1] = 100.0  # object 4 has no pair
    g = loss.networks[0].transform
    ours = loss(**sides(a, b)).total
    theirs = pixpro_by_loops(a, b, g, 1.5, sharpness, unit_values)
    theirs = theirs + pixpro_by_loops(b, a, g, 1.5, sharpness, unit_values)
    agree(ours, theirs, [a[0], b[0], g.weight, g.bias])
    twin = pixpro_by_loops(a, b, g, 1.5, sharpness, unit_values, by_object=False)
    twin = twin + pixpro_by_loops(b, a, g, 1.5, sharpness, unit_values, by_object=False)
    assert abs((ours - twin).item()) > 1e-4


def test_pixpro_with_keys_of_a_momentum_encoder():
    loss = preset("pixpro", dim=3, radius=2.0, keys=("c", "d")).build().double()
    a, b = points(8, 0, A), points(9, 1, B)
    c, d = (draw(8, 3, seed=5), *a[1:]), (draw(9, 3, seed=6), *b[1:])
    g = loss.networks[0].transform
    theirs = pixpro_by_loops(a, d, g, 2.0) + pixpro_by_loops(b, c, g, 2.0)
    ours = loss(**sides(a, b, c, d)).total
    agree(ours, theirs, [a[0], b[0], g.weight])
    unused = torch.autograd.grad(loss(**sides(a, b, c, d)).total, [c[0], d[0]], allow_unused=True)
    assert unused == (None, None)


def test_pixpro_does_not_depend_on_the_order_of_points_or_views():
    loss = preset("pixpro", dim=3, radius=1.5).build().double()
    a, b = points(8, 0, A), points(9, 1, B)
    value = loss(**sides(a, b)).total
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    moved = tuple(x[order] for x in a)
    torch.testing.assert_close(loss(**sides(moved, b)).total, value, rtol=0, atol=1e-12)
    torch.testing.assert_close(loss(**sides(b, a)).total, value, rtol=0, atol=1e-12)


def test_pixpro_in_closed_form_and_refusals():
    """One point per object and g the identity: prop(x) = x, and minus two cosines are left."""
    loss = preset("pixpro", dim=3, radius=0.1).build().double()
    g = loss.networks[0].transform
    g.weight.data, g.bias.data = torch.eye(3).double(), torch.zeros(3).double()
    z, here = draw(4, 3).detach(), torch.zeros(4, 2).double()
    side = Side.of(z, position=here, id=torch.arange(4))
    assert loss(a=side, b=side).total.item() == pytest.approx(-2.0, abs=1e-12)
    far = Side.of(z, position=here + 1, id=torch.arange(4))
    with pytest.warns(UserWarning, match="no anchor counts"):
        assert loss(a=side, b=far).total.item() == 0.0
    for wrong in ({"radius": 0.0}, {"radius": 1.0, "sharpness": 0.5}):
        with pytest.raises(ConventionError, match=r"radius|sharpness"):
            preset("pixpro", dim=3, **wrong).build()
    with pytest.raises(ConventionError, match="position"):
        loss(a=z, b=z)


def in_order(x):
    return 0.5 + torch.atan(x) / math.pi


def groco_by_loops(q, positives, negatives, count):
    near = sorted((cosine(q, p.detach()) for p in positives), key=float)
    far = sorted((cosine(q, n.detach()) for n in negatives), key=float)[-count:]
    x, n = [*far, *near], len(far) + len(near)
    mass = [[torch.tensor(float(i == j)).double() for j in range(n)] for i in range(n)]
    for layer in range(n):
        for i in range(layer % 2, n - 1, 2):
            f, (u, v) = in_order(x[i + 1] - x[i]), (x[i], x[i + 1])
            x[i], x[i + 1] = f * u + (1 - f) * v, (1 - f) * u + f * v
            top, low = mass[i], mass[i + 1]
            mass[i] = [f * s + (1 - f) * t for s, t in zip(top, low, strict=True)]
            mass[i + 1] = [(1 - f) * s + f * t for s, t in zip(top, low, strict=True)]
    total = 0.0
    for j in range(n):
        upper = sum(mass[r][j] for r in range(len(far), n))
        lower = sum(mass[r][j] for r in range(len(far)))
        right = (upper, 1 - lower) if j >= len(far) else (1 - upper, lower)
        total = total - torch.log(right[0]) - torch.log(right[1])
    return total / (2 * n)


@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_groco_by_loops():
    a, b, c, negatives = draw(4, 3), draw(4, 3, seed=1), draw(4, 3, seed=2), draw(6, 3, seed=3)
    loss = preset("groco", positives="bc", count=3).build()
    rows = [groco_by_loops(a[i], (b[i], c[i]), negatives, 3) for i in range(4)]
    agree(loss(a=a, b=b, c=c, negatives=negatives).total, sum(rows) / 4, [a])
    swapped = loss(a=a, b=c, c=b, negatives=negatives.flip(0)).total
    torch.testing.assert_close(swapped, sum(rows) / 4, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_groco_within_a_batch():
    a, b = draw(5, 3), draw(5, 3, seed=1)
    name = torch.tensor([0, 1, 1, 2, 3])
    rows = [
        groco_by_loops(a[i], (b[i],), [b[j] for j in range(5) if name[i] != name[j]], 2)
        for i in range(5)
    ]
    loss = preset("groco", count=2, in_batch=True).build()
    agree(loss(a=Side.of(a, id=name), b=Side.of(b, id=name)).total, sum(rows) / 5, [a])


def test_groco_of_two_in_closed_form_and_refusals():
    q, p, n = (draw(1, 3, seed=i) for i in range(3))
    value = preset("groco").build()(a=q, b=p, negatives=n).total
    expected = -torch.log(in_order(cosine(q[0], p[0]) - cosine(q[0], n[0])))
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    with pytest.raises(ShapeError, match="positive"):
        preset("groco").build()(a=draw(3, 3), b=draw(2, 3), negatives=n)
    with pytest.raises(ConventionError, match="negative"):
        preset("groco", in_batch=True).build()(a=q, b=p)
    with pytest.raises(ConventionError, match="called 'negatives'"):
        preset("groco").build()(a=q, b=p)


def _worker(rank, world, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.set_num_threads(1)
    results[rank] = _values_and_gradients(rank, world)
    dist.destroy_process_group()


def _values_and_gradients(rank, world):
    """Of objectives over shared prototypes and over points, averaged as in data parallelism."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(3, 4).double()
    x, y, found = draw(12, 3).detach(), draw(12, 3, seed=1).detach(), []
    rows = slice(0, 12) if world == 1 else (slice(0, 5), slice(5, 12))[rank]
    names = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4])[rows]
    place, label = draw(12, 2, seed=2).detach()[rows], torch.arange(12)[rows] % 4
    known = {"position": place, "id": names, "label": label}
    for name, settings in (
        ("swav", {"dim": 4, "prototypes": 6}),
        ("ebv", {"basis": torch.eye(4, dtype=torch.float64)}),
        ("pixpro", {"dim": 4, "radius": 1.5}),
    ):
        loss = preset(name, **settings).build().double()
        a, b = (Side.of(encoder(u[rows]), **known) for u in (x, y))
        parameters = [*encoder.parameters(), *loss.parameters()]
        total = (loss(a=a) if name == "ebv" else loss(a=a, b=b)).total
        gradients = [total.detach(), *torch.autograd.grad(total, parameters)]
        for gradient in gradients:
            if world > 1:
                dist.all_reduce(gradient)
                gradient /= world
            found.append(gradient.tolist())
    return found


@pytest.mark.exhaustive
def test_two_processes_with_unequal_shares_have_the_gradient_of_one(free_port):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_worker, args=(2, free_port, results), nprocs=2)
        both = dict(results)
    for alone, first, second in zip(_values_and_gradients(0, 1), both[0], both[1], strict=True):
        for value in (first, second):
            torch.testing.assert_close(torch.tensor(value), torch.tensor(alone), rtol=0, atol=1e-6)
