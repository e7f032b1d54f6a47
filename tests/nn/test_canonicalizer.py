"""Canonicalization, against pictures whose canonical pose is known, and a twin without descent."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    GL,
    SE2,
    SL,
    SO2,
    SO3,
    Affine,
    NormalSampler,
    Semidirect,
    Sim,
    Translation,
)
from equivariant.nn import (
    CanonicalizedNetwork,
    CanonicalizerConfig,
    ConvNetConfig,
    DescentConfig,
    PoseEnergy,
    PoseEnergyConfig,
    fit_energy,
)

SIDE = 32
CENTERS = ((0.0, 0.25, 0.03, 1.0), (-0.2, -0.1, 0.015, 0.7), (0.15, -0.2, 0.02, -0.5))


def picture(h=None, *, size=SIDE, dtype=torch.float64):
    """h applied to three bumps without symmetry, exactly: values of a formula, no interpolation."""
    axis = (torch.arange(size, dtype=dtype) + 0.5 - size / 2) / (size / 2)
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    u = torch.stack([x, y, torch.ones_like(x)], -1)
    if h is not None:
        if h.shape[-1] == 2:
            h = Affine.join(h, torch.zeros(2, dtype=dtype))
        u = u @ torch.linalg.inv(h).T
    u = u[..., :2] / u[..., 2:]
    total = torch.zeros_like(x)
    for cx, cy, width, height in CENTERS:
        square = (u[..., 0] - cx) ** 2 + 1.5 * (u[..., 1] - cy) ** 2
        total = total + height * torch.exp(-square / (2 * width))
    return total[None]


class Template(nn.Module):
    """Squared distance from the picture where it stands: least at one pose, known."""

    def forward(self, images):
        return (images - picture(dtype=images.dtype)).square().sum((1, 2, 3))


def moved(group, count=4, *, scale=0.25, seed=0):
    """Pictures under elements near the identity, exactly, and the elements."""
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(count, group.dim, generator=generator, dtype=torch.float64)
    if group.space_dim == 2 and group.matrix_size == 3:
        x[:, -2:] *= 0.4  # shifts leave the picture in the frame
    h = group.exp(x)
    return torch.stack([picture(one) for one in h]), h


CLOSE = DescentConfig(steps=40, length=0.2, kept=2)
CASES = [
    (SO2(), {"rotations": 6}),
    (SE2(), {"rotations": 6}),
    (Sim(2), {"rotations": 4, "scales": (1.0, 0.7, 1.4)}),
    (GL(2), {"rotations": 4}),
    (Semidirect(SL(2)), {"rotations": 4}),
    (Affine(2), {"rotations": 4}),
    (SL(3), {"rotations": 1}),
]


@pytest.mark.parametrize(("group", "options"), CASES, ids=str)
def test_a_known_pose_is_found_and_not_without_descent(group, options):
    images, h = moved(group, scale=0.08 if group == SL(3) else 0.2)
    canonicalizer = CanonicalizerConfig(group, descent=CLOSE, **options).build(Template())
    found = canonicalizer.locate(images)
    assert (found - h).abs().max() < 0.04
    seen = canonicalizer(images)
    error = (seen - picture()).flatten(1).norm(dim=1) / picture().norm()
    assert error.max() < 0.05
    twin = CanonicalizerConfig(group, descent=DescentConfig(0, kept=2), **options).build(Template())
    worse = (twin(images) - picture()).flatten(1).norm(dim=1) / picture().norm()
    assert worse.max() > 0.2 and bool((error <= worse + 1e-9).all())


def test_canonical_pictures_do_not_depend_on_the_motion_and_a_twins_do():
    """c(h·I) = c(I), far motions included: the starts find them."""
    group = SE2()
    angles = torch.tensor([0.0, 0.9, math.pi, -2.2], dtype=torch.float64)
    shifts = torch.tensor([[0, 0], [0.2, -0.1], [-0.15, 0.2], [0.1, 0.1]], dtype=torch.float64)
    h = Affine.join(SO2().exp(angles[:, None]), shifts)
    images = torch.stack([picture(one) for one in h])
    for steps, low, high in ((40, 0.0, 0.05), (0, 0.1, 2.0)):
        config = CanonicalizerConfig(group, rotations=5, descent=DescentConfig(steps, kept=2))
        seen = config.build(Template())(images)
        error = (seen - seen[:1]).flatten(1).norm(dim=1) / seen[:1].norm()
        assert low <= float(error.max()) < high


def test_the_network_after_it_is_as_invariant():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 5), nn.Tanh(), nn.AvgPool2d(7), nn.Flatten(1))
    config = CanonicalizerConfig(SE2(), rotations=5, descent=CLOSE)
    model = CanonicalizedNetwork(config.build(Template()), network.double())
    images, _ = moved(SE2())
    y, plain = model(images), network(images)
    assert y.shape == plain.shape and y.shape[0] == 4
    assert (y - y.mean(0)).norm() < 0.1 * (plain - plain.mean(0)).norm()


def test_the_same_answer_at_every_call_and_in_every_mode():
    images, _ = moved(SE2())
    energy = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(1))
    energy.append(nn.Linear(2 * 30 * 30, 1)).append(nn.Flatten(0)).double()
    canonicalizer = CanonicalizerConfig(SE2(), rotations=2).build(energy)
    first = canonicalizer.locate(images)
    canonicalizer.train()
    assert canonicalizer.training and not energy.training
    torch.manual_seed(9)
    assert torch.equal(canonicalizer.locate(images), first)
    with torch.no_grad():
        assert torch.equal(canonicalizer.locate(images), first)
    with torch.inference_mode():
        assert torch.equal(canonicalizer.locate(images.clone()), first)
    torch.testing.assert_close(canonicalizer.locate(images[1:2])[0], first[1], rtol=0, atol=1e-9)
    assert all(p.grad is None for p in energy.parameters())


def test_gradients_reach_images_and_network_and_leave_the_energy():
    energy = PoseEnergyConfig(SO2(), widths=(4,), hidden=8).build()
    canonicalizer = CanonicalizerConfig(SO2(), rotations=2).build(energy)
    model = CanonicalizedNetwork(canonicalizer, ConvNetConfig((4, 6), norm="layer").build())
    images = torch.rand(2, 1, 28, 28, requires_grad=True)
    model(images).square().sum().backward()
    assert images.grad is not None and bool(images.grad.ne(0).any())
    assert all(bool(p.grad.ne(0).any()) for p in model.network.parameters())
    assert all(p.grad is None for p in energy.parameters())


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_small_batches_blank_pictures_and_narrow_dtypes(count, dtype):
    class Bright(nn.Module):
        def forward(self, images):
            return -images.float().square().sum((1, 2, 3))

    canonicalizer = CanonicalizerConfig(SE2(), rotations=3).build(Bright())
    blank = torch.zeros(count, 2, 9, 12, dtype=dtype)
    assert canonicalizer(blank).dtype == dtype
    assert torch.equal(canonicalizer(blank), blank)
    assert bool(canonicalizer.locate(torch.rand(count, 2, 9, 12).to(dtype)).isfinite().all())


def test_the_fit_knows_the_pose_and_needs_its_training():
    """On unseen motions of one picture; the untrained twin does not."""
    law = NormalSampler(SE2(), torch.tensor([0.8, 0.15, 0.15]))
    config = PoseEnergyConfig(SE2(), widths=(6, 8), hidden=24, steps=300, batch=32, rate=5e-3)
    images = picture(dtype=torch.float32)[None]
    energy = fit_energy(images, law, config=config, seed=1)
    at_rest, away = energy(images), energy(moved(SE2(), 20, scale=0.5)[0].float())
    assert bool((away > 2 * at_rest).all())
    descent = DescentConfig(30, kept=2)
    pictures, h = moved(SE2(), 8, scale=0.3)
    plan = CanonicalizerConfig(SE2(), rotations=4, descent=descent)
    error = (plan.build(energy).locate(pictures.float()) - h).abs().amax((1, 2))
    torch.manual_seed(0)
    untrained = plan.build(config.build()).locate(pictures.float())
    assert error.median() < 0.1 < (untrained - h).abs().amax((1, 2)).median()


def test_a_seed_means_the_same_weights_and_leaves_the_global_generator():
    law = NormalSampler(Affine(2), 0.3)
    config = PoseEnergyConfig(widths=(4,), hidden=8, steps=3, batch=4)
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    first = fit_energy(images, law, config=config, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(77)
    second, other = (fit_energy(images, law, config=config, seed=s) for s in (3, 4))
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and (a.ndim == 1 or not torch.equal(a, c))
    assert not first.training and not any(p.requires_grad for p in first.parameters())


def test_the_energy_is_the_second_moment_of_its_belief():
    torch.manual_seed(0)
    energy = PoseEnergyConfig(GL(2), widths=(4,), hidden=8).build()
    energy.scale.copy_(torch.tensor([1.0, 2.0, 0.5, 1.0]))
    images, poses = torch.rand(3, 1, 28, 28), torch.randn(3, 2, 2)
    mean, log_deviation = energy.belief(images)
    law = torch.distributions.Normal(mean, log_deviation.exp())
    drawn = law.sample((20_000,))
    torch.testing.assert_close(energy(images), drawn.square().sum(2).mean(0), rtol=0.03, atol=0)
    off = (poses - torch.eye(2)).flatten(1) / energy.scale
    wanted = -law.log_prob(off).sum(1) - 4 * 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(energy.surprise(images, poses), wanted)
    torch.testing.assert_close(energy(images[:1]), energy(images)[:1])


def test_refusals():
    energy = Template()
    for wrong in ({"rotations": 0}, {"scales": ()}, {"scales": (0.0,)}):
        with pytest.raises(ConventionError, match="at least one"):
            CanonicalizerConfig(**wrong).build(energy)
    with pytest.raises(ConventionError, match="starts in"):
        CanonicalizerConfig(SE2(), scales=(1.0, 2.0)).build(energy)
    with pytest.raises(ConventionError, match="starts in"):
        CanonicalizerConfig(Translation(2)).build(energy)
    with pytest.raises(ConventionError, match="plane"):
        CanonicalizerConfig(Affine(3)).build(energy)
    canonicalizer = CanonicalizerConfig(SO2()).build(nn.Flatten(1))
    with pytest.raises(ShapeError, match="one energy"):
        canonicalizer(torch.rand(2, 1, 28, 28))
    with pytest.raises((ShapeError, TypeCheckError)):
        canonicalizer(torch.rand(1, 28, 28))
    for wrong in ({"widths": ()}, {"hidden": 0}, {"steps": 0}, {"batch": 3}, {"rate": 0.0}):
        with pytest.raises(ConventionError, match="at least"):
            PoseEnergy(PoseEnergyConfig(**wrong))
    law = NormalSampler(Affine(2), 0.3)
    with pytest.raises(ShapeError, match="one image"):
        fit_energy(torch.rand(0, 1, 28, 28), law)
    with pytest.raises(ShapeError, match="batch, 1"):
        fit_energy(torch.rand(2, 3, 28, 28), law)
    with pytest.raises(ConventionError, match="same matrices"):
        fit_energy(torch.rand(2, 1, 28, 28), NormalSampler(SO2(), 0.3))
    with pytest.raises(ConventionError, match="plane"):
        PoseEnergyConfig(Affine(3)).build()
    assert PoseEnergyConfig(SO3()).build()(torch.rand(1, 1, 28, 28)).shape == (1,)
