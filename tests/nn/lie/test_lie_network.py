"""LieNetwork: what it declares holds, what it is made of is trained, and samples are the seed's."""

import copy

import pytest
import torch
from lie_oracles import PLANE, SPACE, draw, moved

from equivariant.actions import DirectSum, ImageWarp, Points
from equivariant.errors import ConventionError
from equivariant.groups import (
    E2,
    GL,
    O2,
    SE2,
    SE3,
    SL,
    SO2,
    SO3,
    Affine,
    ScaledRotations,
    Semidirect,
    Sim,
)
from equivariant.measure import equivariance_error
from equivariant.nn import LieNetwork, LieNetworkConfig
from equivariant.nn.lie import LieSamples
from equivariant.nn.lie.lifting import check_floats

QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def network(group, *, inputs=1, seed=0, **options):
    torch.manual_seed(seed)
    options = {"width": 4, "blocks": 1, "samples": 4, "radius": 0.3, **options}
    made = LieNetworkConfig(group, inputs=inputs, **options).build().double()
    for name, buffer in made.named_buffers():  # as after some training
        if name.endswith("mean_square"):
            buffer.copy_(torch.rand(buffer.shape) + 0.1)
    return made.eval()


def blobs(size=24):
    """Smooth pictures that end well inside the frame, (2, 1, size, size)."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    x, y = torch.meshgrid(at, -at, indexing="xy")
    centres = torch.tensor([[0.15, 0.1, 0.12], [-0.2, 0.05, 0.18], [0.05, -0.2, 0.1]])
    parts = [torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * w**2)) for a, b, w in centres]
    first, second = parts[0] + 0.5 * parts[1], parts[2] - 0.7 * parts[0]
    return torch.stack([first, second])[:, None]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("group", PLANE, ids=str)
def test_quarter_turns_with_the_samples_change_no_output(group, steps):
    made = network(group, outputs=None, vectors=2, steps=steps)
    samples, images = draw(group, 4), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    still = made(images, samples)
    there = made(torch.rot90(images, 1, (2, 3)), moved(samples, QUARTER))
    assert torch.allclose(there[:, :4], still[:, :4], atol=1e-10)
    vectors, turned = (y[:, 4:].reshape(3, 2, 2) for y in (still, there))
    assert torch.allclose(turned, vectors @ QUARTER.T, atol=1e-10)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("group", [SL(2), GL(2), *SPACE], ids=str)
def test_affine_maps_of_clouds_with_the_samples_change_no_output(group, steps):
    n = group.matrix_size
    made = network(
        group, inputs=0, outputs=None, vectors=2, steps=steps, lift_radius=1.5, conv_radius=1.5
    )
    a = draw(group, 1, seed=7, radius=0.7).elements[0]
    samples, clouds = draw(group, 4), torch.randn(3, 10, n, dtype=torch.float64)
    still, there = made(clouds, samples), made(clouds @ a.T - 1.0, moved(samples, a))
    assert torch.allclose(there[:, :4], still[:, :4], atol=1e-9)
    vectors, taken = (y[:, 4:].reshape(3, 2, n) for y in (still, there))
    assert torch.allclose(taken, vectors @ a.T, atol=1e-9)


def error(made, x, **options):
    d = made.declaration(x)
    report = equivariance_error(
        made, x, act_in=d.act_in, act_out=d.act_out, law=d.law, samples=3, **options
    )
    return report.value("relative")


def test_rotations_of_pictures_leave_a_small_error_and_one_sample_a_large_one():
    made = network(SO2(), outputs=None, samples=8, width=8)
    assert error(made, blobs(48)) < 0.02
    broken = network(SO2(), outputs=None, samples=1, width=8)
    assert error(broken, blobs(48)) > 0.05


@pytest.mark.parametrize("group", [SO3(), GL(3)], ids=str)
def test_more_samples_leave_a_smaller_error_on_clouds(group):
    made = network(
        group, inputs=0, outputs=None, width=8, sampling="quasi", lift_radius=1.5, conv_radius=1.5
    )
    clouds = torch.randn(2, 12, 3, dtype=torch.float64)

    def measured(count):
        d = made.declaration(clouds)
        return equivariance_error(
            lambda x: made(x, samples=count), clouds, act_in=d.act_in, act_out=d.act_out,
            law=d.law, samples=3,
        ).value("relative")  # fmt: skip

    assert measured(64) < 0.7 * measured(4)


def test_the_declaration_is_of_affine_motions():
    made = network(GL(2), outputs=None, vectors=3)
    d = made.declaration(blobs())
    assert isinstance(d.act_in, ImageWarp)
    assert d.act_in.group == Semidirect(GL(2))
    assert isinstance(d.act_out, DirectSum)
    assert d.act_out.dim == 4 + 3 * 2
    drawn = d.law.draw(50, generator=torch.Generator().manual_seed(0)).elements
    assert bool(Semidirect(GL(2)).contains(drawn).all())
    cloud = network(SO3(), inputs=0).declaration(torch.zeros(1, 5, 3))
    assert isinstance(cloud.act_in, Points)


def test_samples_are_the_seed_in_evaluation_and_new_ones_in_training():
    made, images = network(SL(2)), blobs()
    assert torch.equal(made(images), made(images))
    other = network(SL(2), seed=0)
    object.__setattr__(other.config, "seed", 1)
    assert not torch.equal(made(images), other(images))
    made.train()
    torch.manual_seed(3)
    first, second = made(images), made(images)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(made(images), first)


def test_all_weights_are_trained():
    for options in ({"steps": 2}, {"outputs": None, "vectors": 2}, {"rank": 2, "kernel": "siren"}):
        made = network(GL(2), **options).train()
        images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
        weights = torch.randn(made.dim if made.config.outputs else made.represented).double()
        ((made(images) * weights) ** 2).sum().backward()
        missing = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == []


def test_one_picture_no_picture_and_the_rest_of_a_batch():
    made, images = network(GL(2)), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    whole = made(images)
    assert torch.allclose(made(images[1:2]), whole[1:2], atol=1e-12)
    assert made(images[:0]).shape == (0, 10)
    assert made(images, samples=1).shape == (3, 10)
    assert made(torch.rand(2, 1, 8, 12, dtype=torch.float64)).shape == (2, 10)


def test_precision_of_features_and_of_the_group():
    made, images = network(GL(2)), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    single = copy.deepcopy(made).float()
    assert torch.allclose(single(images.float()).double(), made(images), atol=1e-4)
    assert single.draw(4).elements.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(single(images.float()).double(), made(images), atol=0.2, rtol=0.1)


def test_weights_load_into_a_network_of_the_same_settings():
    made = network(SL(2))
    fresh = LieNetworkConfig(SL(2), width=4, blocks=1, samples=4, radius=0.3).build().double()
    fresh.load_state_dict(made.state_dict())
    assert torch.equal(fresh.eval()(blobs()), made(blobs()))


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 0}, {"width": 0}, {"dropout": 1.0}, {"vectors": 2}, {"window": 0.0},
        {"group": SO3()}, {"radius": -1.0}, {"samples_spread": 4, "samples": 4},
        {"samples_spread": -1},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(options):
    settings = {"group": GL(2), **options}
    with pytest.raises(ConventionError):
        LieNetworkConfig(**settings).build()


def test_a_number_of_samples_below_one_is_refused():
    with pytest.raises(ConventionError, match="at least 1"):
        network(SL(2))(blobs(), samples=0)
    with pytest.raises(ConventionError, match="samples of"):
        network(SL(2))(blobs(), LieSamples(SO2(), torch.eye(2).double()[None], torch.ones(1)))


def test_a_scaled_rotation_network_does_not_feel_magnification_much():
    made = network(
        ScaledRotations(2), outputs=None, width=8, sampling="quasi", samples=16, radius=0.4
    )
    assert error(made, blobs(32)) < 0.06


def test_the_default_network_is_for_digits():
    made = LieNetwork()
    assert made.dim == 10
    assert made.eval()(torch.rand(2, 1, 40, 40)).shape == (2, 10)


@pytest.mark.parametrize(
    ("given", "taken"),
    [(E2(), O2()), (SE2(), SO2()), (Affine(2), GL(2)), (Sim(2), ScaledRotations(2))],
)
def test_groups_with_translations_are_taken_by_their_linear_part(given, taken):
    assert LieNetworkConfig(given).group == taken
    assert LieNetworkConfig(SE3(), inputs=0, width=4, blocks=0).build().config.group == SO3()


def test_signals_that_would_be_read_wrong_are_refused():
    made = LieNetworkConfig(GL(2), width=4, blocks=1).build().eval()
    images = torch.rand(2, 1, 8, 8)
    with pytest.raises(ConventionError, match="dtype of the weights"):
        made(images.double())
    with pytest.raises(ConventionError, match="floating-point"):
        check_floats((255 * images).byte())
    with pytest.raises(ConventionError, match="at least 1"):
        made(images, samples=0)


def test_numbers_of_samples_that_vary_in_training():
    torch.manual_seed(0)
    made, counts = network(O2(), samples=5, samples_spread=2), []
    made.lift.register_forward_pre_hook(lambda _, given: counts.append(len(given[1])))
    for _ in range(60):
        made.train()(blobs())
    assert set(counts) == {3, 4, 5, 6, 7}
    assert min(counts.count(n) for n in set(counts)) >= 4
    counts.clear()
    made.eval()(blobs())
    made.train()(blobs(), 9)
    assert counts == [5, 9]


def test_evenly_spaced_angles_of_varied_numbers_have_other_steps():
    """What a network with one number of samples never sees: angles between multiples of 2π/N."""
    made = network(SO2(), samples=5, samples_spread=2).train()
    one = made.draw(5)
    angles = SO2().log(one.relative_to(one)) / (2 * torch.pi / 5)
    assert torch.allclose(angles, angles.round(), atol=1e-9)
    other = made.draw(7)
    angles = SO2().log(other.relative_to(other)) / (2 * torch.pi / 5)
    assert not torch.allclose(angles, angles.round(), atol=1e-2)


def test_statistics_of_another_number_of_samples():
    """Evaluation at the samples that the statistics are of is training mode, at those samples."""
    torch.manual_seed(0)
    made = network(SL(2), width=6)
    images = torch.rand(64, 1, 8, 8, dtype=torch.float64)
    weights = {name: p.clone() for name, p in made.named_parameters()}
    samples = draw(SL(2), 12)
    with torch.no_grad():
        before = made.eval()(images, samples)
        made.renormalize(images, samples)
        assert not made.training
        after = made(images, samples)
        want = copy.deepcopy(made).train()(images, samples)
    assert float((after - want).norm() / want.norm()) < 0.02  # variances by n - 1, and by n
    assert float((before - want).norm() / want.norm()) > 0.1
    assert all(torch.equal(p, weights[name]) for name, p in made.named_parameters())
    made.renormalize(images, samples)
    with torch.no_grad():
        assert torch.equal(made(images, samples), after)
    assert all(m.momentum == 0.1 for m in made.modules() if hasattr(m, "momentum"))
    with pytest.raises(ConventionError, match="at least 2"):
        made.renormalize(images[:1])
