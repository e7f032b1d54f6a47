"""Coordinates, windows, kernel networks and pools of Lie layers."""

import math

import lie_oracles as oracles
import pytest
import torch
from lie_oracles import PLANE, SPACE, draw, moved

from equivariant.errors import ConventionError
from equivariant.groups import GL, SE2, SL, SO2, SO3, ScaledRotations
from equivariant.nn.lie import (
    CloudPlaces,
    GroupPool,
    KernelNetwork,
    LieCoordinates,
    LieField,
    LieSamples,
    PlaneGrid,
    VectorPool,
)


@pytest.mark.parametrize("group", [*PLANE, *SPACE, ScaledRotations(3)], ids=str)
def test_coordinates_tell_elements_apart_and_are_finite_where_angles_jump(group):
    coordinates = LieCoordinates(group, radius=0.5)
    elements = torch.cat([draw(group, 20).elements, group.identity(1)])
    specials = [g for g in group.special_elements().values() if bool(group.contains(g))]
    if specials:
        elements = torch.cat([elements, torch.stack(specials)])
    found = coordinates(elements)
    assert found.shape == (len(elements), coordinates.dim)
    assert bool(found.isfinite().all())
    gaps = torch.cdist(found, found) + torch.eye(len(elements))
    apart = torch.cdist(elements.flatten(1), elements.flatten(1)) + torch.eye(len(elements))
    assert bool((gaps[apart > 1e-6] > 1e-4).all())


def test_coordinates_do_not_jump_at_half_a_turn():
    coordinates = LieCoordinates(SO2())
    around = SO2().exp(torch.tensor([[math.pi - 1e-7], [1e-7 - math.pi]], dtype=torch.float64))
    below, above = coordinates(around)
    assert torch.allclose(below, above, atol=1e-5)


@pytest.mark.parametrize("group", [SL(2), GL(2), GL(3), SL(3)], ids=str)
def test_coordinates_have_gradients_at_repeated_singular_values(group):
    coordinates = LieCoordinates(group, radius=0.7)
    n = group.matrix_size
    turn = draw(group, 1).elements[0]
    polar_turn = coordinates.split(turn)[2]
    for start in (torch.eye(n).double(), polar_turn):
        x = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda t, at=start: coordinates(at @ group.exp(t)), x)


def test_windows_end_at_the_radius_and_do_not_see_rotations():
    group = GL(2)
    window = LieCoordinates(group, radius=0.5, scale_radius=0.3).window
    turn = SO2().sample(2, generator=torch.Generator().manual_seed(0))

    def stretched(s, c):
        return torch.diag(torch.tensor([math.exp(c + s), math.exp(c - s)], dtype=torch.float64))

    assert float(window(stretched(0.0, 0.0))) == 1.0
    assert float(window(stretched(0.5001, 0.0))) == 0.0
    assert float(window(stretched(0.0, 0.3001))) == 0.0
    value = window(stretched(0.3, 0.1))
    assert 0 < float(value) < 1
    assert torch.allclose(window(turn[0] @ stretched(0.3, 0.1) @ turn[1]), value)


def test_reflections_have_a_coordinate_of_their_own():
    group = PLANE[1]
    turn = SO2().exp(torch.tensor([0.4], dtype=torch.float64))
    mirror = turn @ torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    one, other = LieCoordinates(group)(torch.stack([turn, mirror]))
    assert one[0] == 1.0
    assert other[0] == -1.0


@pytest.mark.parametrize("kind", ["siren", "fourier"])
def test_kernel_networks_start_near_their_scale(kind):
    torch.manual_seed(0)
    network = KernelNetwork(3, 64, kind=kind, width=64, scale=0.5)
    x = 2 * torch.rand(500, 3) - 1
    assert 0.2 < float(network(x).detach().square().mean().sqrt()) < 0.9
    assert torch.autograd.gradcheck(network.double(), torch.rand(2, 3).double().requires_grad_())


def test_kernels_and_coordinates_refuse_what_does_not_fit():
    with pytest.raises(ConventionError, match="width"):
        KernelNetwork(3, 4, width=0)
    with pytest.raises(ConventionError, match="SO2"):
        LieCoordinates(SE2())
    with pytest.raises(ConventionError, match="radi"):
        LieCoordinates(GL(2), radius=-1.0)


@pytest.mark.parametrize("over", ["all", "places", "group"])
@pytest.mark.parametrize("kind", ["max", "mean", "softmax", "energy"])
def test_pools_are_their_formulas(kind, over):
    field = oracles.field_on_grid(GL(2), channels=3, samples=4, batch=2, size=(3, 2))
    samples = LieSamples(GL(2), field.samples.elements, torch.rand(4) + 0.2)
    field = LieField(field.values, samples, field.places)
    measure = samples.weights / samples.determinants
    got = GroupPool(kind, over=over, temperature=0.7)(field)
    places = [(r, c) for r in range(3) for c in range(2)]
    groups = {
        "all": [[(i, *p) for i in range(4) for p in places]],
        "places": [[(i, *p) for p in places] for i in range(4)],
        "group": [[(i, *p) for i in range(4)] for p in places],
    }[over]
    for b in range(2):
        for k, members in enumerate(groups):
            values = torch.stack([field.values[b, :, i, r, c] for i, r, c in members])
            weights = torch.stack([measure[i] for i, _, _ in members])
            weights = weights / weights.sum()
            want = _pooled(kind, values, weights)
            assert torch.allclose(got[b].reshape(3, -1)[:, k], want, atol=1e-12)


def _pooled(kind, values, weights):
    if kind == "max":
        return values.max(0).values
    if kind == "mean":
        return (weights[:, None] * values).sum(0)
    if kind == "softmax":
        return 0.7 * (weights[:, None] * (values / 0.7).exp()).sum(0).log()
    energy = weights * values.square().mean(1)
    return (energy[:, None] * values).sum(0) / energy.sum()


def test_an_empty_field_pools_to_zero():
    field = oracles.field_on_grid(SO2(), channels=3, samples=4)
    empty = field.with_values(torch.zeros_like(field.values).requires_grad_())
    for kind in ("max", "mean", "softmax", "energy"):
        pooled = GroupPool(kind)(empty)
        assert torch.allclose(pooled, torch.zeros_like(pooled), atol=1e-12)
        assert bool(torch.autograd.grad(pooled.sum(), empty.values)[0].isfinite().all())


def test_magnification_leaves_energies_pooled_and_changes_means():
    """A field of twice the extent at twice the scale: the same thing seen from nearer."""
    group = GL(2)
    samples = draw(group, 3)
    values = torch.randn(1, 2, 3, 2, 2, dtype=torch.float64)
    small = torch.nn.functional.pad(values, (3, 3, 3, 3))
    large = torch.nn.functional.pad(
        values.repeat_interleave(2, 3).repeat_interleave(2, 4), (2,) * 4
    )
    grown = moved(samples, 2 * torch.eye(2).double())
    grid = PlaneGrid((8, 8), 0.25)
    one, other = LieField(small, samples, grid), LieField(large, grown, grid)
    assert torch.allclose(GroupPool("energy")(one), GroupPool("energy")(other), atol=1e-12)
    assert not torch.allclose(GroupPool("mean")(one), GroupPool("mean")(other), atol=1e-3)


@pytest.mark.parametrize("group", [*PLANE, *SPACE], ids=str)
def test_vectors_move_with_the_samples(group):
    torch.manual_seed(0)
    n = group.matrix_size
    a = draw(group, 1, seed=3, radius=0.6).elements[0]
    pool = VectorPool(group, 3, 2).double()
    samples = draw(group, 4)
    at = torch.randn(2, 5, n).double()
    values = torch.randn(2, 3, 4, 5).double()
    for _ in range(2):
        still = pool(LieField(values, samples, CloudPlaces(at)))
        there = pool(LieField(values, moved(samples, a), CloudPlaces(at @ a.T + 0.3)))
        assert torch.allclose(there, still @ a.T, atol=1e-12)
        assert bool((still.abs() > 1e-4).all())
        with torch.no_grad():  # once without what is read off the group elements, once with it
            pool.direction.normal_()
    assert not pool(LieField(torch.zeros_like(values), samples, CloudPlaces(at))).any()


def test_vectors_are_those_of_a_loop():
    torch.manual_seed(0)
    samples, grid = draw(GL(2), 3), PlaneGrid((3, 4), 0.5)
    values = torch.randn(2, 5, 3, 3, 4).double()
    pool = VectorPool(GL(2), 5, 2).double()
    with torch.no_grad():
        pool.direction.normal_()
    field = LieField(values, samples, grid)
    found, m = pool(field), field.measure()
    at = [[((c - 1.5) * 0.5, (1 - r) * 0.5) for c in range(4)] for r in range(3)]
    for b in range(2):
        cells = [(i, r, c) for i in range(3) for r in range(3) for c in range(4)]
        e = {k: values[b, :, k[0], k[1], k[2]].square().mean() for k in cells}
        total = sum(m[k[0]] * e[k] for k in cells)
        p = {k: m[k[0]] * e[k] / total for k in cells}
        size = sum(p[k] * e[k] for k in cells).sqrt()
        x = {k: torch.tensor(at[k[1]][k[2]]).double() for k in cells}
        center = sum(p[k] * x[k] for k in cells)
        for v in range(2):
            slow = torch.zeros(2).double()
            for k in cells:
                feature = values[b, :, k[0], k[1], k[2]] / size
                slow += p[k] * (pool.moment[v] @ feature) * (x[k] - center)
                slow += p[k] * samples.elements[k[0]] @ (pool.direction[v] @ feature)
            assert torch.allclose(found[b, v], slow, atol=1e-12)


def test_pools_and_so3_coordinates_refuse():
    with pytest.raises(ConventionError, match="temperature"):
        GroupPool("softmax", temperature=0.0)
    with pytest.raises(ConventionError, match="vector"):
        VectorPool(SO3(), 3, 0)
