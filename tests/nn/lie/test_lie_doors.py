"""Lie layers under inputs at the edge of what makes sense, and under PyTorch's transformations."""

import jaxtyping
import pytest
import torch
from torch.func import functional_call, grad, vmap

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import GL, SL, SO2, TruncatedHaarSampler
from equivariant.nn import GroupConv, GroupPool, LieNetworkConfig, LieSamples, LiftConv
from equivariant.nn.lie import (
    DenseGroupConv,
    LieField,
    PlaneGrid,
    ProjectConv,
    RelativeSamples,
    VectorPool,
)


@pytest.fixture
def unchecked():
    """No type checks: what users without the import hook see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def drawn(group=GL(2), count=4):  # noqa: B008
    generator = torch.Generator().manual_seed(0)
    return LieSamples.draw(TruncatedHaarSampler(group, 0.4), count, generator=generator)


def images(count=3, side=12):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def network(**changes):
    settings = {"width": 4, "blocks": 1, "outputs": 3, "samples": 4, **changes}
    return LieNetworkConfig(SL(2), **settings).build()


@pytest.mark.parametrize(
    "matrix",
    [
        [[torch.nan, 0.0], [0.0, 1.0]],
        [[torch.inf, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [0.0, -1.0]],
        [[1.0, 1.0], [1.0, 1.0]],
    ],
    ids=["nan", "infinite", "mirror", "singular"],
)
def test_samples_are_elements(matrix):
    for group in (GL(2), SL(2), SO2()):
        with pytest.raises(ConventionError, match="elements of"):
            LieSamples(group, torch.tensor([matrix]), torch.ones(1))


def test_samples_of_a_wrong_kind(unchecked):
    with pytest.raises(ConventionError, match="floating-point"):
        LieSamples(SO2(), torch.eye(2, dtype=torch.int64)[None], torch.ones(1))
    with pytest.raises(ShapeError, match="list"):
        LieSamples(SO2(), torch.eye(2)[None], [1.0])


@pytest.mark.parametrize("stride", [1, 2, 4, 6])
def test_windows_larger_than_the_frame_or_smaller_than_the_stride(stride):
    """Taps that no place can use are left out, and the sums stay what they are."""
    x, samples = images().double(), drawn(count=2)
    positions = PlaneGrid.of_image((12, 12)).positions[0]
    places = PlaneGrid.of_image((12, 12)).coarser(stride).positions[0]
    for radius in (0.01, 0.4, 3.0, 1e5):
        lift = LiftConv(GL(2), 1, 2, radius=radius, stride=stride).double()
        found = lift(x, samples).values.flatten(3)
        apart = positions[None] - places[:, None]
        parts = torch.tensor([-1.0, 1.0], dtype=torch.float64) / 24  # of a pixel's 1 / 6
        within = torch.cartesian_prod(parts, parts)
        fine = apart[:, :, None] + within
        moved = torch.einsum("sij,xypj->sxypi", samples.inverses, fine)
        kernel = lift.kernel(moved).mean(3) * (1 / 6 / radius) ** 2
        kernel = kernel / samples.determinants[:, None, None, None]
        expected = torch.einsum("sxyo,by->bosx", kernel, x.flatten(1))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_samples_that_reach_far_beyond_the_frame():
    far = torch.diag(torch.tensor([1e6, 1e-6], dtype=torch.float64))[None]
    samples = LieSamples(GL(2), far, torch.ones(1))
    field = LiftConv(GL(2), 1, 2, radius=0.3)(images(), samples)
    assert bool(field.values.isfinite().all())
    for layer in (GroupConv(GL(2), 2, 3, radius=0.3), DenseGroupConv(GL(2), 2, 3, radius=0.3)):
        assert layer(field).values.shape == (3, 3, 1, 12, 12)


def test_layers_refuse_what_is_no_field_of_numbers(unchecked):
    whole = LieField(torch.ones(1, 2, 4, 5, 5, dtype=torch.int64), drawn(), PlaneGrid((5, 5), 0.4))
    layers = [
        GroupConv(GL(2), 2, 3, radius=0.3), DenseGroupConv(GL(2), 2, 3, radius=0.3),
        ProjectConv(GL(2), 2, 3, radius=0.3), VectorPool(GL(2), 2, 1), GroupPool("mean"),
    ]  # fmt: skip
    for layer in layers:
        with pytest.raises(ConventionError, match="int64"):
            layer(whole)
        with pytest.raises(ConventionError, match="LieField"):
            layer(whole.values.float())


def test_relative_steps_outside_of_the_window_are_refused():
    far = torch.diag(torch.tensor([50.0, 0.02])).expand(3, 2, 2)
    around = RelativeSamples(drawn(), LieSamples(GL(2), far, torch.ones(3)))
    field = LieField(torch.ones(1, 2, 12, 5, 5), around.product, PlaneGrid((5, 5), 0.4))
    with pytest.raises(ConventionError, match="inside the window"):
        GroupConv(GL(2), 2, 3, radius=0.3)(field, around)


def test_numbers_of_samples_and_signals_of_a_wrong_kind(unchecked):
    net = network().eval()
    for bad in (2.5, True, net.law, "4"):
        with pytest.raises(ConventionError, match="LieSamples"):
            net(images(), samples=bad)
    with pytest.raises(ConventionError, match="no tensor"):
        net(images().numpy())


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"samples": 2.5}, {"blocks": -1}, {"outputs": 0}, {"dropout": 1.0}],
    ids=str,
)  # fmt: skip
def test_numbers_out_of_range_are_named(wrong, unchecked):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConventionError, match=rf"config: .* got {name}={value}"):
        network(**wrong)


def test_an_empty_batch_leaves_the_running_mean():
    net = network(outputs=None)
    assert net(images(0)).shape == (0, 4)
    assert bool(net.norm.get_buffer("mean_square").eq(1.0).all())
    assert bool(net.eval()(images()).isfinite().all())


@pytest.mark.parametrize("steps", [0, 2])
def test_vectorized_is_a_loop_and_gives_gradients_of_each_picture(steps):
    net, x = network(steps=steps).eval(), images()
    each = vmap(lambda one: net(one[None])[0])(x)
    torch.testing.assert_close(each, net(x), rtol=1e-5, atol=1e-6)
    weights = dict(net.named_parameters())

    def number(weights, one):
        return functional_call(net, weights, (one[None],)).square().sum()

    found = vmap(grad(number), in_dims=(None, 0))(weights, x)
    number(weights, x[1]).backward()
    for name, weight in net.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(found[name][1], weight.grad, rtol=1e-3, atol=1e-5)
