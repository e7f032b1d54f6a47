"""The rotation network: shapes, what turns do to it, and what a broken twin shows."""

from __future__ import annotations

import importlib
import warnings

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import ConvNetConfig, RotationConvNet, RotationConvNetConfig

pytestmark = [pytest.mark.escnn, pytest.mark.filterwarnings("ignore")]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("escnn", reason="needs the extra escnn, with numpy below 2")
    importlib.import_module("escnn.nn")

SMALL = RotationConvNetConfig((2, 3), order=8)


def build(config=SMALL):
    torch.manual_seed(0)
    network = config.build()
    network(torch.rand(8, config.channels, 33, 33))  # batch statistics of something
    with torch.no_grad():
        return network.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (33, 33), (20, 28)])
def test_shapes_and_a_batch_of_one(channels, size):
    network = RotationConvNetConfig((2, 3), channels=channels).build()
    assert network(torch.rand(1, channels, *size)).shape == (1, network.dim) == (1, 3)


def test_gradients_reach_everything():
    network = SMALL.build()
    network(torch.rand(4, 1, 28, 28)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in network.parameters())


def test_quarter_turns_change_nothing_and_a_plain_network_changes():
    network = build()
    stripes = torch.linspace(-9, 9, 33).sin().expand(2, 1, 33, 33).contiguous()
    turned = stripes.rot90(1, (2, 3))
    torch.manual_seed(0)
    twin = ConvNetConfig((4, 6)).build().eval()
    with torch.no_grad():
        y, z = network(stripes), twin(stripes)
        assert float((network(turned) - y).norm() / y.norm()) < 1e-4
        assert float((twin(turned) - z).norm() / z.norm()) > 0.05


def test_only_the_disk_is_looked_at():
    network = build()
    x = torch.zeros(1, 1, 33, 33)
    marked = x.clone()
    marked[..., 0, 0] = 1.0
    assert torch.equal(network(marked), network(x))


def test_weights_of_the_default():
    count = sum(p.numel() for p in RotationConvNet().parameters())
    assert count == 34_218


def test_refusals():
    for wrong in ({"widths": ()}, {"widths": (0,)}, {"order": 0}, {"channels": 0}):
        with pytest.raises(ConventionError, match="at least"):
            RotationConvNetConfig(**wrong).build()
    with pytest.raises(ShapeError, match="batch, 1"):
        build()(torch.rand(2, 3, 33, 33))
