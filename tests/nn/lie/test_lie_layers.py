"""Lifts and group convolutions against slow loops, and the symmetry that holds without samples."""

import lie_oracles as oracles
import pytest
import torch
from lie_oracles import PLANE, SPACE, draw, moved

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import GL, SL, SO2, TruncatedHaarSampler
from equivariant.nn.lie import (
    CloudPlaces,
    DenseGroupConv,
    GroupConv,
    LieField,
    LieSamples,
    LiftConv,
    PlaneGrid,
    ProjectConv,
    RelativeSamples,
)

QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("group", [SO2(), GL(2)], ids=str)
def test_lifting_images_is_the_integral(group, stride):
    torch.manual_seed(0)
    lift = LiftConv(group, 2, 3, radius=0.5, stride=stride, width=8).double()
    samples = draw(group, 3)
    images = torch.randn(2, 2, 6, 12, dtype=torch.float64)
    field = lift(images, samples)
    read = oracles.pixel_places((6, 12), 1 / 3)
    written = oracles.pixel_places((6 // stride, 12 // stride), stride / 3)
    assert field.places.spacing == pytest.approx(stride / 3)
    for i in (0, 2):
        inverse, determinant = samples.inverses[i], samples.determinants[i]
        for row, column in ((0, 0), (6 // stride - 1, 1)):
            for b in range(2):
                values = images[b].flatten(1).T.repeat(1, 3)  # pixels, outputs * inputs
                want = oracles.plane_integral(
                    lift.kernel, inverse, determinant, values, read, 1 / 3, written[row, column]
                )
                want = want.unflatten(-1, (3, 2)).sum(-1)
                got = field.values[b, :, i, row, column]
                assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("group", [GL(2), *SPACE], ids=str)
def test_lifting_clouds_is_the_average(group):
    torch.manual_seed(0)
    n = group.matrix_size
    lift = LiftConv(group, 0, 4, radius=1.5, width=8).double()
    samples, clouds = draw(group, 3), torch.randn(2, 9, n, dtype=torch.float64)
    field = lift(clouds, samples, centers=4)
    ones = torch.ones(9, 1, dtype=torch.float64)
    for b in range(2):
        for place, x in enumerate(field.places.positions[b]):
            for i in range(3):
                want = oracles.cloud_average(lift.kernel, samples.inverses[i], clouds[b], ones, x)
                assert torch.allclose(field.values[b, :, i, place], want, atol=1e-12)


@pytest.mark.parametrize("group", PLANE, ids=str)
def test_group_convolution_of_a_grid_is_the_double_integral(group):
    torch.manual_seed(0)
    field = oracles.field_on_grid(group, channels=2, samples=3, batch=1, size=(4, 3))
    layer = GroupConv(group, 2, 3, radius=0.4, rank=2, width=8).double()
    outputs = draw(group, 2, seed=5)
    got = layer(field, outputs)
    assert torch.allclose(got.values, oracles.convolved(layer, field, outputs), atol=1e-12)
    assert got.samples is outputs or torch.equal(got.samples.elements, outputs.elements)


@pytest.mark.parametrize("group", [SL(2), *SPACE], ids=str)
def test_group_convolution_of_clouds_is_the_double_average(group):
    torch.manual_seed(0)
    samples, n = draw(group, 3), group.matrix_size
    places = CloudPlaces(torch.randn(2, 5, n, dtype=torch.float64))
    field = LieField(torch.randn(2, 2, 3, 5, dtype=torch.float64), samples, places)
    layer = GroupConv(group, 2, 3, radius=1.5, rank=2, width=8).double()
    got = layer(field)
    assert torch.allclose(got.values, oracles.convolved(layer, field, samples), atol=1e-12)


def test_the_dense_kernel_of_a_product_gives_what_the_separable_layer_gives():
    """A dense network that is replaced by a(y) b(u) W must agree with the three-step layer."""
    torch.manual_seed(0)
    group = GL(2)
    field = oracles.field_on_grid(group, channels=2, samples=3)
    layer = GroupConv(group, 2, 3, radius=0.5, group_radius=0.9, width=8).double()
    dense = DenseGroupConv(group, 2, 3, radius=0.5, group_radius=0.9, width=8, depth=1).double()

    class Product(torch.nn.Module):
        last = torch.nn.Identity()

        def features(self, joint):
            space = layer.place_kernel.network(joint[..., :2])
            found = space * layer.group_kernel(joint[..., 2:])
            return (layer.channels * found[..., None, :]).flatten(-2)

    dense.network = Product()
    assert torch.allclose(dense(field).values, layer(field).values, atol=1e-12)


@pytest.mark.parametrize("group", PLANE, ids=str)
def test_quarter_turns_of_images_turn_the_lift_exactly(group):
    torch.manual_seed(0)
    lift = LiftConv(group, 1, 4, radius=0.4, stride=2, width=8).double()
    samples = draw(group, 5)
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    turned = lift(torch.rot90(images, 1, (2, 3)), moved(samples, QUARTER)).values
    still = lift(images, samples).values
    assert torch.allclose(turned, torch.rot90(still, 1, (3, 4)), atol=1e-12)
    assert not torch.allclose(turned, still, atol=1e-2)


def test_shifts_by_whole_strides_shift_the_lift_exactly():
    torch.manual_seed(0)
    lift = LiftConv(SL(2), 1, 4, radius=0.3, stride=2, width=8).double()
    samples, images = draw(SL(2), 5), torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    images[:, :, 8:12, 8:12] = torch.randn(4, 4, dtype=torch.float64)
    still = lift(images, samples).values
    shifted = lift(images.roll((2, -4), (2, 3)), samples).values
    assert torch.allclose(shifted, still.roll((1, -2), (3, 4)), atol=1e-12)


@pytest.mark.parametrize("group", [GL(2), SL(2), *SPACE], ids=str)
def test_affine_maps_of_clouds_move_lift_and_convolution_exactly(group):
    torch.manual_seed(0)
    n = group.matrix_size
    a = draw(group, 1, seed=9, radius=0.8).elements[0]
    clouds = torch.randn(2, 12, n, dtype=torch.float64)
    elsewhere = clouds @ a.T + 3.0
    lift = LiftConv(group, 0, 3, radius=1.5, width=8).double()
    layer = GroupConv(group, 3, 3, radius=1.5, width=8).double()
    samples = draw(group, 4)
    still = layer(lift(clouds, samples)).values
    there = layer(lift(elsewhere, moved(samples, a))).values
    assert torch.allclose(there, still, atol=1e-9)
    assert not torch.allclose(layer(lift(elsewhere, samples)).values, still, atol=1e-3)


def test_relative_samples_commute_with_the_group_however_few_they_are():
    torch.manual_seed(0)
    group = GL(3)
    lift = LiftConv(group, 0, 3, radius=1.5, width=8).double()
    layer = GroupConv(group, 3, 2, radius=1.5, width=8).double()
    base, steps = draw(group, 2), draw(group, 3, seed=4)
    a = draw(group, 1, seed=9, radius=0.8).elements[0]
    clouds = torch.randn(2, 12, 3, dtype=torch.float64)
    around, there = RelativeSamples(base, steps), RelativeSamples(moved(base, a), steps)
    still = layer(lift(clouds, around.product), around).values
    elsewhere = layer(lift(clouds @ a.T, there.product), there).values
    assert torch.allclose(elsewhere, still, atol=1e-9)
    # With other outputs the values at a shared output stay the same: no output sees another.
    more = LieSamples(
        group, torch.cat([base.elements, draw(group, 4, seed=8).elements]), torch.ones(6)
    )
    wider = RelativeSamples(more, steps)
    both = layer(lift(clouds, wider.product), wider).values
    assert torch.allclose(both[:, :, :2], still, atol=1e-12)


def test_relative_samples_are_the_product_by_hand():
    torch.manual_seed(0)
    group = SL(2)
    base, steps = draw(group, 2), draw(group, 3, seed=4)
    layer = GroupConv(group, 2, 3, radius=0.4, width=8).double()
    around = RelativeSamples(base, steps)
    field = LieField(torch.randn(1, 2, 6, 4, 4).double(), around.product, PlaneGrid((4, 4), 0.5))
    got = layer(field, around).values
    for i in range(2):
        # One output alone, whose samples are its own steps, is an ordinary convolution.
        only = LieSamples(group, base.elements[i : i + 1], torch.ones(1))
        own = LieSamples(group, base.elements[i] @ steps.elements, steps.weights)
        part = LieField(field.values[:, :, 3 * i : 3 * i + 3], own, field.places)
        assert torch.allclose(got[:, :, i], layer(part, only).values[:, :, 0], atol=1e-12)


@pytest.mark.parametrize("group", [SO2(), GL(2)], ids=str)
def test_the_order_of_samples_is_of_no_consequence(group):
    torch.manual_seed(0)
    field = oracles.field_on_grid(group, channels=2, samples=5)
    weights = torch.rand(5) + 0.1
    order = torch.tensor([3, 0, 4, 2, 1])
    samples = LieSamples(group, field.samples.elements, weights)
    shuffled = LieSamples(group, field.samples.elements[order], weights[order])
    layer, project = (kind(group, 2, 3, radius=0.4).double() for kind in (GroupConv, ProjectConv))
    one, other = (
        LieField(values, s, field.places)
        for values, s in ((field.values, samples), (field.values[:, :, order], shuffled))
    )
    assert torch.allclose(layer(other).values, layer(one).values[:, :, order], atol=1e-12)
    assert torch.allclose(project(other), project(one), atol=1e-12)


def test_projection_is_the_weighted_sum_of_integrals():
    torch.manual_seed(0)
    field = oracles.field_on_grid(GL(2), channels=2, samples=3, batch=1, size=(3, 3))
    layer = ProjectConv(GL(2), 2, 4, radius=0.5, width=8).double()
    places = oracles.pixel_places((3, 3), 0.25)
    want = torch.zeros(2, 9, dtype=torch.float64)
    for i in range(3):
        values = field.values[0, :, i].flatten(1).T
        for k, x in enumerate(places.reshape(-1, 2)):
            want[:, k] += field.samples.weights[i] * oracles.plane_integral(
                layer.place_kernel, field.samples.inverses[i], field.samples.determinants[i],
                values, places, 0.25, x,
            )  # fmt: skip
    want = layer.channels @ want
    assert torch.allclose(layer(field)[0].flatten(1), want, atol=1e-12)


def test_no_window_is_cut_off_however_far_it_is_moved():
    """Kernels of samples that stretch eightfold: taps beyond the last are zero."""
    torch.manual_seed(0)
    stretch = torch.diag(torch.tensor([8.0, 1.0], dtype=torch.float64))
    samples = LieSamples(GL(2), torch.stack([torch.eye(2).double(), stretch]), torch.ones(2))
    lift = LiftConv(GL(2), 1, 1, radius=0.1, width=8).double()
    images = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    images[:, :, 20, 20] = 1.0
    values = lift(images, samples).values[0, 0]
    assert values[1, 20, 5:36].abs().min() > 0  # 0.1 * 8 / (2 / 41) = 16.4 pixels to each side
    assert values[1, 20, :3].abs().max() == 0
    assert values[0, 20, :17].abs().max() == 0


def test_layers_refuse_what_does_not_fit():
    field = oracles.field_on_grid(SO2(), channels=2, samples=3)
    with pytest.raises(ConventionError, match="samples of"):
        GroupConv(GL(2), 2, 3, radius=0.4).double()(field)
    with pytest.raises(ShapeError, match="3 channels"):
        GroupConv(SO2(), 3, 3, radius=0.4).double()(field)
    with pytest.raises(ShapeError, match="stride"):
        LiftConv(SO2(), 1, 2, radius=0.4, stride=2)(torch.zeros(1, 1, 5, 6), field.samples)
    with pytest.raises(ShapeError, match="inputs=0"):
        LiftConv(SO2(), 1, 2, radius=0.4)(torch.zeros(1, 7, 2), field.samples)
    with pytest.raises(ConventionError, match="radius"):
        LiftConv(SO2(), 1, 2, radius=0.0)
    with pytest.raises(ConventionError, match="product"):
        steps = draw(SO2(), 2)
        GroupConv(SO2(), 2, 3, radius=0.4).double()(field, RelativeSamples(steps, steps))
    with pytest.raises(ShapeError, match="samples, then places"):
        LieField(field.values[:, :, :2], field.samples, field.places)
    with pytest.raises(ConventionError, match="weights"):
        LieSamples(SO2(), field.samples.elements, torch.zeros(3))
    with pytest.raises(ConventionError, match="grid of pixels"):
        cloud = LieField(torch.zeros(1, 2, 3, 4), field.samples, CloudPlaces(torch.zeros(1, 4, 2)))
        DenseGroupConv(SO2(), 2, 3, radius=0.4)(cloud)


def test_more_samples_bring_a_convolution_to_its_limit_as_one_over_the_root():
    """Independent samples of a smooth field: the error halves when their number is fourfold."""
    group = SL(2)
    torch.manual_seed(1)
    layer = GroupConv(group, 1, 1, radius=1.0, group_radius=0.5, width=8).double()
    law = TruncatedHaarSampler(group, 1.0)
    output = LieSamples(group, torch.eye(2).double()[None], torch.ones(1))

    def value(count, seed):
        samples = LieSamples.draw(law, count, generator=torch.Generator().manual_seed(seed))
        h = samples.elements
        values = (h[:, 0, 0] + 0.5 * h[:, 1, 0])[None, None, :, None]
        field = LieField(values, samples, CloudPlaces(torch.zeros(1, 1, 2).double()))
        return float(layer(field, output).values.detach())

    limit = sum(value(20_000, 900 + k) for k in range(4)) / 4
    errors = []
    for count in (100, 400, 1600):
        squares = [(value(count, seed) - limit) ** 2 for seed in range(60)]
        errors.append((sum(squares) / 60) ** 0.5)
    slopes = torch.tensor(errors).log2().diff() / 2
    assert torch.allclose(slopes.mean(), torch.tensor(-0.5), atol=0.12)
