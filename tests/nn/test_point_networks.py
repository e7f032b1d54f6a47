"""Neighbours, edge convolution and the point encoders, against loops and at their edges."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import (
    EdgeConvolution,
    FrameAverage,
    PointEncoder,
    PointEncoderConfig,
    VectorNeuronEncoderConfig,
    nearest_neighbors,
)
from equivariant.nn.points.layers import FeatureNorm
from equivariant.nn.points.neighbors import EXACT_CHANNELS

SMALL = {"width": 4, "dim": 12, "neighbors": 5}


def clouds(batch=2, points=23, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, points, 3, generator=generator, dtype=dtype)


def slow_neighbors(x, count):
    rows = []
    for cloud in x:
        row = []
        for i in range(len(cloud)):
            keys = [(float((cloud[j] - cloud[i]).norm()), j) for j in range(len(cloud))]
            row.append([j for _, j in sorted(keys)[:count]])
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, EXACT_CHANNELS + 4])
def test_neighbors_against_a_loop(dtype, channels):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 17, channels, generator=generator).to(dtype)
    for count in (1, 4, 17):
        assert torch.equal(nearest_neighbors(x, count), slow_neighbors(x, count))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_distances_go_by_the_index(dtype):
    grid = torch.cartesian_prod(*[torch.arange(3.0)] * 3).to(dtype)
    x = torch.stack([grid, torch.zeros_like(grid)])
    assert torch.equal(nearest_neighbors(x, 9), slow_neighbors(x.double(), 9))
    assert nearest_neighbors(x, 3)[1].tolist() == [[0, 1, 2]] * 27


def test_neighbors_far_from_the_origin():
    x = clouds(1, 40, dtype=torch.float32)
    near = nearest_neighbors(x.double(), 5)
    far = nearest_neighbors((1e3 + x.double()).float(), 5)
    assert float((near == far).double().mean()) > 0.99


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_edge_convolution_against_a_loop(norm):
    torch.manual_seed(0)
    layer = EdgeConvolution(3, 6, neighbors=4, norm=norm).double().eval()
    x = clouds()
    index = slow_neighbors(x, 4)
    expected = torch.zeros(2, 23, 6, dtype=torch.float64)
    for b in range(2):
        for i in range(23):
            messages = []
            for j in index[b, i].tolist():
                edge = torch.cat([x[b, j] - x[b, i], x[b, i]])
                value = layer.norm(layer.linear(edge))
                messages.append(torch.where(value > 0, value, 0.2 * value))
            expected[b, i] = torch.stack(messages).amax(0)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=1e-12)
    # The same check tells edge features (x_j, x_i) apart.
    first, second = layer.linear.weight.detach().chunk(2, 1)
    layer.linear.weight.data = torch.cat([first, second + first], 1)
    assert (layer(x) - expected).abs().max() > 0.1


def test_batch_statistics_are_those_of_all_edges():
    torch.manual_seed(0)
    layer = EdgeConvolution(3, 6, neighbors=4).double()
    x = clouds()
    index = nearest_neighbors(x, 4)
    neighbors = torch.stack([x[b, index[b]] for b in range(2)])
    centers = x.unsqueeze(2).expand_as(neighbors)
    edges = layer.linear(torch.cat([neighbors - centers, centers], -1))
    mean, var = edges.mean((0, 1, 2)), edges.var((0, 1, 2), unbiased=False)
    value = (edges - mean) / (var + 1e-5).sqrt()
    expected = torch.where(value > 0, value, 0.2 * value).amax(2)
    torch.testing.assert_close(layer(x), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("architecture", ["pointnet", "dgcnn"])
def test_the_order_of_points_does_not_matter(architecture, norm):
    torch.manual_seed(0)
    encoder = PointEncoderConfig(architecture, norm=norm, **SMALL).build().double()
    x = clouds()
    order = torch.randperm(23)
    for mode in (True, False):
        encoder.train(mode)
        torch.testing.assert_close(encoder(x[:, order]), encoder(x), atol=1e-12, rtol=1e-12)
    assert (encoder(x + 0.5) - encoder(x)).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ["pointnet", "dgcnn"])
def test_a_batch_of_one_and_one_point(architecture):
    encoder = PointEncoderConfig(architecture, width=4, dim=12, neighbors=1).build()
    assert encoder(torch.randn(1, 7, 3)).shape == (1, 12)
    encoder.eval()
    assert encoder(torch.randn(1, 1, 3)).shape == (1, 12)
    x = torch.randn(3, 7, 3)
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]))
    with pytest.raises(ShapeError, match="larger batches"):
        encoder.train()(torch.randn(1, 1, 3))


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("architecture", ["pointnet", "dgcnn"])
def test_gradients_at_coincident_points_are_finite(architecture, norm):
    encoder = PointEncoderConfig(architecture, norm=norm, **SMALL).build()
    x = torch.randn(2, 23, 3)
    x[0] = 0.0
    x[1, :10] = x[1, 0].clone()
    x.requires_grad_()
    encoder(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_mixed_precision_stays_finite_and_near():
    """Rounding to 8 bits exchanges neighbours too; unrelated results would differ by about 1.4."""
    torch.manual_seed(0)
    encoders = [
        PointEncoderConfig("pointnet", **SMALL).build(),
        PointEncoderConfig("dgcnn", **SMALL).build(),
        VectorNeuronEncoderConfig(width=4, channels=4, neighbors=5).build(),
        FrameAverage(PointEncoderConfig("pointnet", **SMALL).build()),
    ]
    x = clouds(8, dtype=torch.float32)
    for encoder in encoders:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = encoder(x)
        y.float().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
        error = (y.float() - encoder(x)).norm() / encoder(x).norm()
        assert error < 0.5


def test_the_papers_widths():
    shapes = [p.shape for p in PointEncoder().parameters() if p.ndim == 2]
    assert shapes == [(64, 6), (64, 128), (128, 128), (256, 256), (1024, 512)]
    point_net = PointEncoderConfig("pointnet").build()
    outputs = [p.shape[0] for p in point_net.parameters() if p.ndim == 2]
    assert outputs == [64, 64, 64, 128, 1024]


def test_refusals():
    encoder = PointEncoderConfig(**SMALL).build()
    for wrong in (torch.zeros(2, 4, 3), torch.zeros(2, 0, 3), torch.zeros(2, 3, 23)):
        with pytest.raises(ShapeError, match="at least 5 points"):
            encoder(wrong)
    with pytest.raises(ShapeError, match="at least 1 points"):
        PointEncoderConfig("pointnet", width=4).build()(torch.zeros(2, 0, 3))
    with pytest.raises((ShapeError, TypeCheckError)):
        encoder(torch.zeros(23, 3))
    with pytest.raises(ShapeError, match="fewer neighbours"):
        nearest_neighbors(torch.zeros(1, 3, 3), 4)
    with pytest.raises(ShapeError, match="at least 1"):
        nearest_neighbors(torch.zeros(1, 3, 3), 0)
    for wrong in ({"width": 0}, {"dim": 0}, {"neighbors": 0}):
        with pytest.raises(ConventionError, match="at least 1"):
            PointEncoderConfig(**wrong).build()
    with pytest.raises((ConventionError, TypeCheckError), match="dgcnn"):
        PointEncoderConfig("transformer").build()
    with pytest.raises((ConventionError, TypeCheckError), match="layer"):
        FeatureNorm(3, "group")
