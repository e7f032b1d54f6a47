"""Layers on cells: exact at every cell, continuous through every degenerate one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equivariant.actions import Piecewise, Points
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import E3, O3, SE3, SO3
from equivariant.measure import equivariance_error
from equivariant.nn import FrameAverage, Partition, PiecewiseLayer
from equivariant.nn.apen.cell_frames import CellFrames, CellGeometry
from equivariant.nn.frames.frame_average import signed_frames

GROUPS = [SE3(), E3()]
WIDTH = 8


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def layer(group, features=0, vectors=0, *, out=2, kind=PiecewiseLayer, **settings):
    torch.manual_seed(0)
    made = kind(features, vectors, width=WIDTH, vectors_out=out, group=group, **settings)
    return made.double().eval().requires_grad_(False)


def degenerate():
    """Cells in which axes are not determined, by name; each (points, 3)."""
    line = torch.linspace(-1, 2, 7, dtype=torch.float64)[:, None]
    corner = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    angle = torch.arange(6, dtype=torch.float64)[:, None] * torch.pi / 3
    ring = torch.cat([angle.cos(), angle.sin(), torch.zeros_like(angle)], 1)
    return {
        "single": normal(1, 3),
        "pair": normal(2, 3),
        "coincident": normal(1, 3).expand(5, 3),
        "collinear": line * torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64),
        "collinear and even": line[[0, 2, 4]] * torch.tensor([0.3, -0.5, 0.8]).double(),
        "coplanar": normal(7, 3) * torch.tensor([1.0, 0.6, 0]).double(),
        "ring": ring,
        "square": torch.cartesian_prod(corner, corner, torch.zeros(1).double()),
        "cube": torch.cartesian_prod(corner, corner, corner),
        "octahedron": torch.cat([torch.eye(3), -torch.eye(3)]).double(),
        "rod": torch.cat([ring, ring + torch.tensor([0, 0, 5.0])]),
        "tiny": 1e-9 * normal(6, 3),
        "far away": 1e3 + normal(6, 3),
    }


def cloud_of_cells():
    """Every degenerate cell and a generic one, in one cloud, with labels."""
    cells = [*degenerate().values(), normal(9, 3, seed=4)]
    labels = torch.cat([torch.full((len(c),), k) for k, c in enumerate(cells)])
    return torch.cat(cells)[None], labels


def moved(group, labels, x, *others, seed=0):
    """Cloud and vectors moved by elements drawn for each cell by itself."""
    action = Piecewise(group, labels)
    g = action.group.sample(len(x), generator=torch.Generator().manual_seed(seed))
    own = torch.stack(action.group.split(g), 1)[:, labels]
    turned = [torch.einsum("bnij,bncj->bnci", own[..., :3, :3], v) for v in others]
    return action(g, x), own[..., :3, :3], *turned


@pytest.mark.parametrize("group", GROUPS)
def test_exact_for_independent_motions_of_every_cell(group):
    x, labels = cloud_of_cells()
    f = layer(group, 3, 2)
    numbers, vectors = normal(1, len(labels), 3), normal(1, len(labels), 2, 3)
    partition = Partition(labels[None])
    before, y = f(x, partition, numbers, vectors=vectors)
    for seed in range(10):
        gx, turn, gv = moved(group, labels, x, vectors, seed=seed)
        after, z = f(gx, partition, numbers, vectors=gv)
        torch.testing.assert_close(after, before, atol=1e-9, rtol=0)
        expected = torch.einsum("bnij,bncj->bnci", turn, y)
        torch.testing.assert_close(z, expected, atol=1e-9, rtol=0)
    # by cells finer than the parts, so by parts too
    coarser = labels // 4
    gx, turn, gv = moved(group, coarser, x, vectors)
    torch.testing.assert_close(f(gx, partition, numbers, vectors=gv)[0], before, atol=1e-9, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_a_cell_that_mixes_parts_is_rejected(group):
    """The check is able to fail: a cell across two parts."""
    x, labels = cloud_of_cells()
    f = layer(group)
    mixed = labels.clone()
    mixed[labels == 11] = 13
    gx, *_ = moved(group, labels, x)
    difference = (f(gx, Partition(mixed[None]))[0] - f(x, Partition(mixed[None]))[0]).abs()
    assert difference[0, labels == 13].max() > 1e-3
    assert difference[0, labels < 11].max() < 1e-9


def test_rotations_alone_are_told_from_reflections():
    x, labels = normal(1, 20, 3), torch.zeros(20, dtype=torch.int64)
    one = Partition(labels[None])
    mirror = x * torch.tensor([1.0, 1, -1]).double()
    chiral, achiral = layer(SE3()), layer(E3())
    assert (chiral(mirror, one)[0] - chiral(x, one)[0]).abs().max() > 1e-3
    torch.testing.assert_close(achiral(mirror, one)[0], achiral(x, one)[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", degenerate())
def test_by_the_meter(group, name):
    """The shipped measurement, on one degenerate cell at a time."""
    x = degenerate()[name][None]
    f, one = layer(group), Partition.single_cell(x.shape[1], 1)

    def points(clouds):
        features, vectors = f(clouds, one)
        return {"features": features, "places": clouds + vectors[:, :, 0]}

    report = equivariance_error(
        lambda clouds: points(clouds)["places"], x,
        act_in=Points(group), act_out=Points(group), samples=4,
    )  # fmt: skip
    assert report.value("worst") < 1e-9


def crossing(t):
    """Clouds whose two larger eigenvalues cross at t = 0."""
    base = normal(9, 3, seed=2)
    base = base - base.mean(0)
    _, _, v = torch.linalg.svd(base, full_matrices=False)
    u = base @ v.T
    white = u / u.square().mean(0).sqrt()
    return white * torch.stack([1 + t, torch.ones_like(t), torch.full_like(t, 0.3)])


class Abrupt(PiecewiseLayer):
    """The broken twin: the frames of one cell without weights."""

    def averaged(self, known, turning, cells):
        bases, _, partition = cells
        offsets = turning[:, 0]
        axes = torch.linalg.eigh(offsets.T @ offsets)[1]
        signed = signed_frames(axes[None], SO3())[0]
        four, every = torch.full((4,), 0.25).double(), torch.arange(4)
        frames = CellFrames(signed, four, torch.zeros_like(every), every[:, None])
        return super().averaged(known, turning, (bases, frames, partition))


def test_continuous_where_eigenvalues_cross():
    """Steps of the output shrink with the steps of the path, everywhere along it."""
    f, one = layer(SE3()), Partition.single_cell(9, 1)

    def steps(f, count):
        path = torch.linspace(-0.02, 0.021, count, dtype=torch.float64)
        values = torch.stack([torch.cat([o.flatten() for o in f(crossing(t)[None], one)])
                              for t in path])  # fmt: skip
        return float(values.diff(dim=0).norm(dim=1).max())

    wide, narrow = steps(f, 21), steps(f, 161)
    assert narrow < wide / 6
    broken = layer(SE3(), kind=Abrupt)
    jump = steps(broken, 161)
    assert jump > 20 * narrow
    assert jump > 0.5 * steps(broken, 21)


@pytest.mark.parametrize("name", degenerate())
def test_continuous_at_degenerate_cells(name):
    """A point moved by h changes the outputs by a multiple of h."""
    x = degenerate()[name]
    f, one = layer(SE3()), Partition.single_cell(len(x), 1)
    before = torch.cat([o.flatten() for o in f(x[None], one)])
    direction = normal(*x.shape, seed=9)
    sizes = []
    for h in (1e-4, 1e-6):
        after = torch.cat([o.flatten() for o in f((x + h * direction)[None], one)])
        sizes.append(float((after - before).abs().max()) / h)
    assert sizes[1] < 3 * sizes[0] + 1e-2
    assert sizes[0] < 5e3  # 1 / resolution, times the network's own constant


@pytest.mark.parametrize("group", GROUPS)
def test_one_cell_is_a_frame_average_of_the_whole_cloud(group):
    f, one = layer(group, out=1), Partition.single_cell(12, 1)
    x = normal(1, 12, 3) * torch.tensor([1.0, 0.7, 0.05]).double()
    geometry = CellGeometry.of(x, one, group=group, resolution=f.resolution)
    assert len(geometry.frames().weights) == (8 if group == E3() else 4)  # weight one
    known = geometry.invariants(geometry.bases())
    size = geometry.sizes[0]

    class Backbone(nn.Module):
        def forward(self, seen):
            rows = []
            for cloud in seen:
                every = torch.arange(12), torch.zeros(12, dtype=torch.int64), 1
                rows.append(f.network(known, cloud / size, every))
            return torch.stack(rows)

    average = FrameAverage(Backbone(), O3() if group == E3() else SO3())
    torch.testing.assert_close(f(x, one)[0], average(x), atol=1e-10, rtol=0)


def test_one_point_per_cell_is_a_map_of_its_numbers():
    f = layer(SE3(), 3, 1)
    numbers, vectors = normal(2, 9, 3), torch.zeros(2, 9, 1, 3).double()
    each = Partition.singletons(9, 2)
    out, y = f(normal(2, 9, 3), each, numbers, vectors=vectors)
    elsewhere, _ = f(normal(2, 9, 3, seed=7), each, numbers, vectors=vectors)
    torch.testing.assert_close(elsewhere, out, atol=0, rtol=0)
    assert y.abs().max() == 0
    n = f.network
    cell = torch.zeros(2, 9, 11).double()
    cell[..., 10] = f.resolution
    read = torch.cat([cell, numbers, torch.zeros(2, 9, 3)], -1)
    a = nn.functional.leaky_relu(n.first(n.of_features(read)), 0.2)
    b = nn.functional.leaky_relu(n.second(n.of_member(a) + n.of_set(a)), 0.2)
    torch.testing.assert_close(out, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_cells_against_one_call_per_cell(group):
    f = layer(group, 2, 1)
    x, numbers, vectors = normal(2, 30, 3), normal(2, 30, 2), normal(2, 30, 1, 3)
    labels = torch.randint(0, 5, (2, 30), generator=torch.Generator().manual_seed(0))
    out, y = f(x, Partition(labels), numbers, vectors=vectors)
    for b in range(2):
        for cell in labels[b].unique():
            own = labels[b] == cell
            alone, z = f(x[b, own][None], Partition.single_cell(int(own.sum()), 1),
                         numbers[b, own][None], vectors=vectors[b, own][None])  # fmt: skip
            torch.testing.assert_close(out[b, own], alone[0], atol=1e-11, rtol=0)
            torch.testing.assert_close(y[b, own], z[0], atol=1e-11, rtol=0)


def test_order_of_points_does_not_matter():
    f = layer(SE3())
    x, labels = cloud_of_cells()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    out, y = f(x, Partition(labels[None]))
    shuffled, z = f(x[:, order], Partition(labels[order][None]))
    torch.testing.assert_close(shuffled, out[:, order], atol=1e-10, rtol=0)
    torch.testing.assert_close(z, y[:, order], atol=1e-10, rtol=0)


def test_weights_of_frames_sum_to_one_and_vanish_where_axes_are_free():
    x, labels = cloud_of_cells()
    geometry = CellGeometry.of(x, Partition(labels[None]), group=SE3(), resolution=0.01)
    frames = geometry.frames()
    total = torch.zeros(14).double().index_add(0, frames.cells, frames.weights)
    torch.testing.assert_close(total, torch.ones(14).double())
    for cell, name in enumerate(degenerate()):
        if name not in ("coplanar", "far away"):
            own = frames.matrices[frames.cells == cell]
            assert own.abs().max() == 0, name
    assert frames.matrices[frames.cells == 13].abs().max() > 0


def test_a_drawn_frame_is_right_on_average():
    """Over many cells alike, the mean over drawn frames is near that over all."""
    one = normal(6, 3, seed=3) * torch.tensor([1.0, 0.8, 0.7]).double()
    copies = 4000
    x = one.repeat(copies, 1)[None]
    partition = Partition(torch.arange(copies).repeat_interleave(6)[None])
    f = layer(SE3(), norm="layer", stochastic=True)
    exact = f(one[None], Partition.single_cell(6, 1))
    f.train()
    mean = f(x, partition)[0].unflatten(1, (copies, 6)).mean(1)
    torch.testing.assert_close(mean, exact[0], atol=0.03, rtol=0)
    f.stochastic = False
    torch.testing.assert_close(f(one[None], Partition.single_cell(6, 1))[0], exact[0])


@pytest.mark.parametrize("group", GROUPS)
def test_gradients_are_right_and_finite_at_degenerate_cells(group):
    f = layer(group)
    one = Partition.single_cell(9, 1)
    generic = (normal(1, 9, 3) * torch.tensor([1.0, 0.7, 0.4]).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: f(x, one), generic, atol=1e-5)
    x, labels = cloud_of_cells()
    x.requires_grad_()
    out, y = f(x, Partition(labels[None]))
    (out.square().sum() + y.square().sum()).backward()
    assert torch.isfinite(x.grad).all()


def test_float32_stays_near_float64():
    f = layer(SE3())
    x, labels = cloud_of_cells()
    x = x[:, labels != 12]
    partition = Partition(labels[labels != 12][None])
    exact = f(x, partition)[0]
    rounded = f.float()(x.float(), partition)[0]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, atol=2e-3, rtol=0)


def test_refusals():
    with pytest.raises(ConventionError, match="SE3"):
        PiecewiseLayer(group=SO3())
    with pytest.raises(ConventionError, match="width"):
        PiecewiseLayer(width=0)
    f = layer(SE3(), 2)
    with pytest.raises(ShapeError, match="features"):
        f(normal(1, 4, 3), Partition.single_cell(4, 1))
    with pytest.raises(ShapeError, match="vectors"):
        f(normal(1, 4, 3), Partition.single_cell(4, 1), normal(1, 4, 2),
          vectors=normal(1, 4, 1, 3))  # fmt: skip
    with pytest.raises(ShapeError, match="partition"):
        f(normal(1, 4, 3), Partition.single_cell(4), normal(1, 4, 2))
