"""Plain, moving and classifying networks for pictures: shapes, starts, gradients, refusals."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from equivariant.actions import ImageWarp
from equivariant.errors import ConventionError, MissingExtraError, ShapeError
from equivariant.groups import GL, SE2, SO2, SO3, Affine, Sim, Translation
from equivariant.nn import (
    Classifier,
    ConvNet,
    ConvNetConfig,
    ImageEncoderConfig,
    PointEncoderConfig,
    RotationConvNetConfig,
    SpatialTransformerConfig,
    VectorNeuronEncoderConfig,
    pull_back,
)

SMALL = ConvNetConfig((4, 6, 8))
GROUPS = [None, SO2(), SE2(), Sim(2), GL(2), Affine(2)]


def pictures(count=3, channels=1, size=(28, 28), *, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, *size, generator=generator, dtype=dtype)


def count(module):
    return sum(p.numel() for p in module.parameters())


def elements(group, number, *, scale=0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return group.sample(number, generator=generator, scale=scale)


def slow_pull_back(images, g):
    """Pixel by pixel, with the hat function written out."""
    _, channels, height, width = images.shape
    half = min(height, width) / 2
    result = torch.zeros_like(images)
    for b, matrix in enumerate(g.tolist()):
        for i in range(height):
            for j in range(width):
                u = [(j + 0.5 - width / 2) / half, (height / 2 - i - 0.5) / half, 1.0]
                x, y, *w = (sum(a * c for a, c in zip(row, u, strict=False)) for row in matrix)
                if w and w[0] <= 0:
                    continue
                x, y = (x / w[0], y / w[0]) if w else (x, y)
                column, row = x * half + width / 2 - 0.5, height / 2 - 0.5 - y * half
                for r in (math.floor(row), math.floor(row) + 1):
                    for c in (math.floor(column), math.floor(column) + 1):
                        if 0 <= r < height and 0 <= c < width:
                            weight = (1 - abs(row - r)) * (1 - abs(column - c))
                            for k in range(channels):
                                result[b, k, i, j] += weight * images[b, k, r, c]
    return result


@pytest.mark.parametrize("group", [GL(2), Affine(2), GL(3)])
@pytest.mark.parametrize("size", [(5, 5), (4, 7), (7, 4)])
def test_pull_back_against_a_loop(group, size):
    x = pictures(3, 2, size, dtype=torch.float64)
    g = elements(group, 3)
    torch.testing.assert_close(pull_back(x, g), slow_pull_back(x, g), rtol=0, atol=1e-12)


@pytest.mark.parametrize("group", [SO2(), Affine(2)])
def test_pull_back_is_the_action_of_the_inverse(group):
    x, g = pictures(3, 2, (9, 13), dtype=torch.float64), elements(group, 3)
    action = ImageWarp(group, (9, 13), channels=2, interpolation="bilinear")
    torch.testing.assert_close(pull_back(x, g), action(group.inverse(g), x), rtol=0, atol=1e-12)
    assert (pull_back(x, g) - action(g, x)).abs().max() > 0.1  # the other way round is another


def test_homographies_compose_and_show_nothing_behind_the_camera():
    x = pictures(1, 1, (8, 8), dtype=torch.float64)
    behind = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))[None]
    assert not pull_back(x, behind).any()
    eye = torch.eye(3, dtype=torch.float64)[None]
    torch.testing.assert_close(pull_back(x, 3 * eye), x)  # scale of homogeneous coordinates


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_identity_and_dtypes(dtype):
    x = pictures(2, 1, (28, 40)).to(dtype)
    y = pull_back(x, torch.eye(3).expand(2, 3, 3))
    assert y.dtype == dtype
    torch.testing.assert_close(y, x, rtol=0, atol=1e-5)


def test_gradients_of_pull_back():
    x = pictures(2, 1, (5, 6), dtype=torch.float64).requires_grad_()
    g = elements(Affine(2), 2).requires_grad_()
    assert torch.autograd.gradcheck(pull_back, (x, g))


def test_empty_batches():
    assert pull_back(pictures(0), torch.zeros(0, 3, 3)).shape == (0, 1, 28, 28)
    assert SMALL.build().eval()(pictures(0)).shape == (0, 8)
    assert SpatialTransformerConfig().build(SMALL.build()).eval()(pictures(0)).shape == (0, 8)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (40, 33)), (2, (1, 1))])
def test_shapes_and_a_batch_of_one(norm, channels, size):
    network = ConvNetConfig((4, 6, 8), channels=channels, norm=norm).build().eval()
    x = pictures(3, channels, size)
    assert network(x).shape == (3, network.dim) == (3, 8)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))


def test_layer_norm_does_not_look_at_the_batch_and_batch_norm_does():
    x = pictures()
    for norm, same in (("layer", True), ("batch", False)):
        network = ConvNetConfig((4, 6), norm=norm).build()
        near = torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)
        assert near == same


def test_widths_span_the_sizes_of_the_baseline():
    assert count(ConvNet()) == 35_136
    assert count(ConvNetConfig((12, 18, 24)).build()) < 21_000
    assert count(ConvNetConfig((54, 81, 108)).build()) > 390_000


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_gradients_reach_everything(norm):
    torch.manual_seed(0)
    network = Classifier(ConvNetConfig((4, 6, 8), blocks=2, norm=norm).build(), 10)
    nn.functional.cross_entropy(network(pictures()), torch.arange(3)).backward()
    assert all(bool(p.grad.ne(0).any()) for p in network.parameters())


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_transformer_starts_as_its_network(group):
    torch.manual_seed(0)
    network = SMALL.build().eval()
    model = SpatialTransformerConfig(group).build(network).eval()
    x = pictures(4, size=(40, 40))
    torch.testing.assert_close(model(x), network(x), rtol=0, atol=1e-5)
    found = model.locate(x)
    assert torch.equal(found, torch.eye(found.shape[1]).expand_as(found))
    with torch.no_grad():  # one that starts elsewhere is told apart
        model.linear[-1].bias.fill_(0.3)
    assert (model(x) - network(x)).norm() > 0.01 * network(x).norm()


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_transformer_learns_everywhere_after_its_first_step(group):
    torch.manual_seed(0)
    model = Classifier(SpatialTransformerConfig(group).build(SMALL.build()), 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pictures()), torch.arange(3)).backward()
        optimizer.step()
    assert all(bool(p.grad.ne(0).any()) for p in model.parameters())
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("group", GROUPS[1:], ids=str)
def test_a_transformer_stays_in_its_group(group):
    torch.manual_seed(0)
    model = SpatialTransformerConfig(group, norm="layer").build(SMALL.build())
    nn.init.normal_(model.linear[-1].weight)
    found = model.locate(pictures())
    assert bool(group.contains(found).all())
    assert (found - torch.eye(found.shape[1])).abs().max() > 1e-3


def test_a_transformer_is_not_invariant():
    torch.manual_seed(0)
    model = SpatialTransformerConfig(SO2()).build(SMALL.build()).eval()
    nn.init.normal_(model.linear[-1].weight)
    stripes = torch.linspace(-9, 9, 33).sin().expand(1, 1, 33, 33).contiguous()
    y = model(stripes)
    assert (model(stripes.rot90(1, (2, 3))) - y).norm() > 0.02 * y.norm()


@pytest.mark.parametrize(
    ("encoder", "x"),
    [
        (SMALL, torch.rand(2, 1, 28, 28)),
        (ImageEncoderConfig(width=4), torch.rand(2, 3, 32, 32)),
        (PointEncoderConfig("pointnet", width=4, dim=12), torch.randn(2, 20, 3)),
        (VectorNeuronEncoderConfig(width=4, channels=6, neighbors=4), torch.randn(2, 20, 3)),
        (
            VectorNeuronEncoderConfig(width=4, channels=6, neighbors=4, invariant=True, dim=7),
            torch.randn(2, 20, 3),
        ),
    ],
)
def test_a_classifier_of_every_encoder(encoder, x):
    model = Classifier(encoder.build(), 5)
    y = model(x)
    assert y.shape == (2, 5) and model.dim == 5
    by_hand = model.encoder.eval()(x).flatten(1) @ model.linear.weight.T + model.linear.bias
    torch.testing.assert_close(model.eval()(x), by_hand)
    assert model(x[:1]).shape == (1, 5)


def test_refusals():
    for wrong in ({"widths": ()}, {"widths": (4, 0)}, {"blocks": 0}, {"channels": 0}):
        with pytest.raises(ConventionError, match="at least"):
            ConvNetConfig(**wrong).build()
    for wrong in ({"widths": ()}, {"widths": (0,)}, {"hidden": 0}, {"channels": 0}):
        with pytest.raises(ConventionError, match="at least"):
            SpatialTransformerConfig(**wrong).build(SMALL.build())
    with pytest.raises((ConventionError, TypeCheckError), match="layer"):
        ConvNetConfig(norm="group").build()
    for group in (Translation(3), Translation(1), Affine(3)):
        with pytest.raises(ConventionError, match="plane"):
            SpatialTransformerConfig(group).build(SMALL.build())
    SpatialTransformerConfig(SO3()).build(SMALL.build())  # turns of a camera: homographies
    for network in (SMALL.build(), SpatialTransformerConfig().build(nn.Identity())):
        with pytest.raises(ShapeError, match="batch, 1"):
            network(torch.rand(2, 3, 28, 28))
    with pytest.raises(ShapeError, match="one pixel"):
        SMALL.build()(torch.rand(2, 1, 0, 28))
    with pytest.raises(ShapeError, match="larger batches"):
        SMALL.build()(torch.rand(1, 1, 4, 4))
    for g in (torch.eye(3), torch.eye(4).expand(3, 4, 4), torch.eye(2).expand(2, 2, 2)):
        with pytest.raises((ShapeError, TypeCheckError)):
            pull_back(pictures(), g)
    with pytest.raises(ConventionError, match="dim"):
        Classifier(nn.Linear(3, 3), 10)
    with pytest.raises(ConventionError, match="1 class"):
        Classifier(SMALL.build(), 0)


def test_without_escnn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "escnn", None)
    monkeypatch.setitem(sys.modules, "escnn.nn", None)
    with pytest.raises(MissingExtraError, match=r"equivariant\[escnn\]") as caught:
        RotationConvNetConfig().build()
    assert isinstance(caught.value.__cause__, ImportError)
