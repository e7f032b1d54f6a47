"""Vector neurons: that they turn, that a broken twin is caught, and that zero is harmless."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SE3, SO3
from equivariant.nn import (
    VectorBlock,
    VectorEdgeConvolution,
    VectorInvariant,
    VectorLeakyReLU,
    VectorLinear,
    VectorMaxPool,
    VectorMeanPool,
    VectorNeuronEncoder,
    VectorNeuronEncoderConfig,
    VectorNorm,
)
from equivariant.testing import assert_equivariant

TOLERANCE = 1e-10
CHANNELS = 6
SMALL = {"width": 4, "channels": 5, "neighbors": 6, "dim": 7}
LAYERS = {
    "linear": lambda: VectorLinear(CHANNELS, 4),
    "relu": lambda: VectorLeakyReLU(CHANNELS),
    "shared relu": lambda: VectorLeakyReLU(CHANNELS, slope=0.0, shared=True),
    "batch norm": lambda: VectorNorm(CHANNELS),
    "layer norm": lambda: VectorNorm(CHANNELS, "layer"),
    "no norm": lambda: VectorNorm(CHANNELS, "none"),
    "block": lambda: VectorBlock(CHANNELS, 4),
    "max pool": lambda: VectorMaxPool(CHANNELS),
    "mean pool": lambda: VectorMeanPool(),
    "edges": lambda: VectorEdgeConvolution(CHANNELS, 4, neighbors=3),
    "edges, max": lambda: VectorEdgeConvolution(CHANNELS, 4, neighbors=3, pooling="max"),
}


class Biased(nn.Module):
    """A linear layer with the bias that it must not have."""

    def __init__(self):
        super().__init__()
        self.linear = VectorLinear(CHANNELS, 4)
        self.bias = nn.Parameter(0.01 * torch.ones(4, 3))

    def forward(self, x):
        return self.linear(x) + self.bias


class ByCoordinate(nn.Module):
    """A rectifier of coordinates, which knows the axes."""

    def forward(self, x):
        return torch.nn.functional.leaky_relu(x, 0.2)


def features(*batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, CHANNELS, 3, generator=generator, dtype=torch.float64)


def check_layer(layer, group, *, batch=(2, 9)):
    """The identity, half turns and random elements, by the package's own assertion."""
    x = features(*batch)

    def flat(z):
        return layer(z.reshape(*batch, CHANNELS, 3)).flatten(-2)

    y = layer(x)
    act_in, act_out = Vectors(group, CHANNELS), Vectors(group, y.shape[-2])
    assert_equivariant(flat, x.flatten(-2), act_in=act_in, act_out=act_out, tolerance=TOLERANCE)


@pytest.mark.parametrize("group", [SO3(), O3()])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_turn(name, training, group):
    torch.manual_seed(0)
    layer = LAYERS[name]().double().train(training)
    check_layer(layer, group)


@pytest.mark.parametrize("twin", [Biased, ByCoordinate])
def test_the_check_rejects_layers_that_do_not_turn(twin):
    with pytest.raises(AssertionError, match="not equivariant"):
        check_layer(twin().double(), SO3())


def test_cross_products_turn_but_do_not_reflect():
    torch.manual_seed(0)
    layer = VectorEdgeConvolution(CHANNELS, 4, neighbors=3, chiral=True).double()
    check_layer(layer, SO3())
    with pytest.raises(AssertionError, match="not equivariant"):
        check_layer(layer, O3())


def test_rectifier_against_a_loop():
    torch.manual_seed(0)
    layer = VectorLeakyReLU(CHANNELS).double()
    x = features(5)
    expected = x.clone()
    for n, c in product(range(5), range(CHANNELS)):
        k = sum(layer.direction.weight[c, i] * x[n, i] for i in range(CHANNELS))
        unit = k / k.norm()
        if x[n, c] @ unit < 0:
            expected[n, c] = x[n, c] - 0.8 * (x[n, c] @ unit) * unit
    torch.testing.assert_close(layer(x), expected, atol=1e-10, rtol=1e-10)


def test_normalized_lengths():
    x = features(50)
    normalized = VectorNorm(CHANNELS).double()(x)
    signed = (normalized * x).sum(-1) / x.norm(dim=-1)
    torch.testing.assert_close(signed.mean(0), torch.zeros(CHANNELS).double(), atol=1e-9, rtol=0)
    variance = signed.var(0, unbiased=False)
    torch.testing.assert_close(variance, torch.ones(CHANNELS).double(), atol=1e-3, rtol=0)


def test_max_pool_against_a_loop():
    torch.manual_seed(0)
    layer = VectorMaxPool(CHANNELS).double()
    x = features(2, 9)
    expected = torch.empty(2, CHANNELS, 3, dtype=torch.float64)
    for b, c in product(range(2), range(CHANNELS)):
        reach = [float(x[b, n, c] @ (layer.weight[c] @ x[b, n])) for n in range(9)]
        expected[b, c] = x[b, reach.index(max(reach)), c]
    assert torch.equal(layer(x), expected)
    assert not list(layer.parameters())


@pytest.mark.parametrize("chiral", [True, False])
def test_edges_against_a_loop(chiral):
    torch.manual_seed(0)
    layer = VectorEdgeConvolution(CHANNELS, 4, neighbors=3, chiral=chiral, norm="layer").double()
    x = features(1, 8)
    expected = torch.empty(1, 8, 4, 3, dtype=torch.float64)
    for i in range(8):
        order = (x[0] - x[0, i]).flatten(1).norm(dim=1).argsort()[:3].tolist()
        messages = []
        for j in order:
            parts = [x[0, j] - x[0, i], x[0, i]]
            if chiral:
                parts.append(torch.linalg.cross(x[0, j], x[0, i]))
            messages.append(layer.activation(layer.linear.weight @ torch.cat(parts)))
        expected[0, i] = torch.stack(messages).mean(0)
    torch.testing.assert_close(layer(x), expected, atol=1e-11, rtol=1e-11)


def test_invariant_layer():
    torch.manual_seed(0)
    layer = VectorInvariant(CHANNELS, "layer").double()
    x = features(4)

    def flat(z):
        return layer(z.reshape(4, CHANNELS, 3))

    action = Vectors(O3(), CHANNELS)
    assert_equivariant(
        flat, x.flatten(1), act_in=action, act_out=Trivial(3 * CHANNELS), tolerance=TOLERANCE
    )


def cloud(batch=2, points=20, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, points, 3, generator=generator, dtype=dtype)


def build(**options):
    torch.manual_seed(0)
    encoder = VectorNeuronEncoderConfig(**{**SMALL, **options}).build().double()
    encoder.train()
    encoder(cloud(4))  # statistics that are not those of the start
    return encoder.eval()


def check_encoder(encoder, group, f=None):
    config = encoder.config
    act_out = Trivial(config.dim) if config.invariant else Vectors(group, config.channels)
    run = f or (lambda x: encoder(x).flatten(1))
    return assert_equivariant(
        run, cloud(), act_in=Points(group), act_out=act_out, tolerance=TOLERANCE
    )


@pytest.mark.parametrize("invariant", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("architecture", ["dgcnn", "pointnet"])
def test_encoders_turn(architecture, pooling, norm, invariant):
    options = {"architecture": architecture, "pooling": pooling, "norm": norm}
    encoder = build(**options, invariant=invariant)
    check_encoder(encoder, SO3())
    check_encoder(encoder, SE3())
    with pytest.raises(AssertionError, match="not equivariant"):
        check_encoder(encoder, O3())
    check_encoder(build(**options, invariant=invariant, chiral=False), O3())
    if norm == "batch":
        check_encoder(encoder.train(), SO3())


@pytest.mark.parametrize("invariant", [True, False])
def test_the_check_rejects_an_encoder_that_sees_the_axes(invariant):
    encoder = build(invariant=invariant)
    scale = torch.tensor([1.0, 1.0, 1.01], dtype=torch.float64)
    with pytest.raises(AssertionError, match="not equivariant"):
        check_encoder(encoder, SO3(), lambda x: encoder(x * scale).flatten(1))


@pytest.mark.parametrize("invariant", [True, False])
def test_order_batch_of_one_and_shape(invariant):
    encoder = build(invariant=invariant)
    x = cloud()
    shape = (7,) if invariant else (5, 3)
    assert encoder.dim == (7 if invariant else 15)
    assert encoder(x[:1]).shape == (1, *shape)
    assert encoder.train()(x[:1]).shape == (1, *shape)
    encoder.eval()
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]), atol=1e-12, rtol=1e-12)
    moved = encoder(x[:, torch.randperm(20)])
    torch.testing.assert_close(moved, encoder(x), atol=1e-11, rtol=1e-11)
    y = encoder.train()(x)
    assert (y[0] - y[1]).abs().max() > 1e-3 * y.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_at_zero_vectors(name, dtype):
    layer = LAYERS[name]().to(dtype)
    x = torch.zeros(2, 9, CHANNELS, 3, dtype=dtype)
    x[1, 4:] = features(5).to(dtype)
    x[0, 1] = 1e-25 * features().to(dtype)
    x.requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("invariant", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_encoders_at_coincident_points(pooling, norm, invariant):
    encoder = build(pooling=pooling, norm=norm, invariant=invariant).float().train()
    x = cloud(3, dtype=torch.float32)
    x[0] = 0.7
    x[1, :12] = x[1, 0].clone()
    x.requires_grad_()
    y = encoder(x)
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    if not invariant:
        assert y[0].abs().max() < 1e-3


def test_every_parameter_learns():
    encoder = build(invariant=True, pooling="max").train()
    encoder(cloud()).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in encoder.parameters())


def test_refusals():
    encoder = build()
    for wrong in (torch.zeros(2, 5, 3), torch.zeros(2, 0, 3), torch.zeros(2, 3, 20)):
        with pytest.raises(ShapeError, match="at least 6 points"):
            encoder(wrong.double())
    for wrong in ({"width": 0}, {"channels": 0}, {"neighbors": 0}, {"dim": 0}):
        with pytest.raises(ConventionError, match="at least 1"):
            VectorNeuronEncoder(VectorNeuronEncoderConfig(**wrong))
    for wrong in ({"architecture": "mlp"}, {"pooling": "sum"}, {"norm": "group"}):
        with pytest.raises((ConventionError, TypeCheckError)):
            VectorNeuronEncoder(VectorNeuronEncoderConfig(**wrong))
    with pytest.raises(ConventionError, match="one channel"):
        VectorLinear(0, 3)
    with pytest.raises(ConventionError, match="slope"):
        VectorLeakyReLU(3, slope=2.0)
