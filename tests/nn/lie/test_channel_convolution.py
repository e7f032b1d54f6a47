"""The convolution of each channel by itself against PyTorch's, with all its derivatives."""

import pytest
import torch
from torch.nn.functional import conv2d

from equivariant.nn.lie import channel_convolution
from equivariant.nn.lie.channel_convolution import convolve_channels


@pytest.fixture(autouse=True, params=[1, 15])
def large_kernel_from(request, monkeypatch):
    """Both orders in memory, whatever the number of taps."""
    monkeypatch.setattr(channel_convolution, "LARGE_KERNEL_FROM", request.param)


def draw(batch, channels, size, taps):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(channels, 1, taps, taps, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), weight.requires_grad_()


def plain(x, weight):
    return conv2d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize(("size", "taps"), [((5, 7), 3), ((4, 4), 9), ((6, 5), 1), ((1, 1), 3)])
def test_values_and_gradients_are_those_of_the_plain_convolution(batch, size, taps):
    x, weight = draw(batch, 4, size, taps)
    found, want = convolve_channels(x, weight), plain(x, weight)
    assert torch.allclose(found, want, atol=1e-12)
    cotangent = torch.randn_like(want)
    got = torch.autograd.grad(found, (x, weight), cotangent)
    expected = torch.autograd.grad(want, (x, weight), cotangent)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, expected, strict=True))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_derivatives_of_second_order_and_in_forward_mode():
    x, weight = draw(2, 2, (4, 3), 3)
    assert torch.autograd.gradcheck(convolve_channels, (x, weight), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(convolve_channels, (x, weight))


def test_batched_by_vmap():
    x, weight = draw(2, 3, (5, 5), 3)
    many = torch.stack([x.detach(), 2 * x.detach()])
    found = torch.func.vmap(convolve_channels, in_dims=(0, None))(many, weight.detach())
    assert torch.allclose(found[1], plain(2 * x, weight), atol=1e-12)
