"""The three steps of a separable convolution against PyTorch's, with all their derivatives."""

import pytest
import torch
from torch.nn.functional import conv2d

from equivariant.nn.lie.separable_convolution import convolve_separably


def draw(batch=2, rank=2, inputs=3, read=4, written=2, outputs=5, size=(4, 3), taps=3):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    terms = rank * inputs
    return (
        normal(batch, inputs, read, *size),
        normal(inputs, rank, written, read),
        normal(terms * written, 1, taps, taps),
        normal(outputs, terms),
    )


def plain(values, mixing, kernels, channels):
    mixed = torch.einsum("crij,bcjyx->bcriyx", mixing, values)
    pictures = mixed.flatten(1, 3)
    moved = conv2d(pictures, kernels, padding=kernels.shape[-1] // 2, groups=pictures.shape[1])
    by_term = moved.reshape(len(values), channels.shape[1], mixing.shape[2], *values.shape[3:])
    return torch.einsum("ot,btiyx->boiyx", channels, by_term)


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("shape", [{}, {"rank": 1, "written": 6}, {"taps": 9}, {"size": (1, 1)}])
def test_values_and_gradients_are_those_of_the_three_steps(batch, shape):
    given = draw(batch, **shape)
    found, want = convolve_separably(*given), plain(*given)
    assert torch.allclose(found, want, atol=1e-10)
    cotangent = torch.randn_like(want)
    got = torch.autograd.grad(found, given, cotangent)
    expected = torch.autograd.grad(want, given, cotangent)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(got, expected, strict=True))


def test_a_kernel_turned_the_wrong_way_is_noticed():
    values, mixing, kernels, channels = draw()
    wrong = convolve_separably(values, mixing, kernels.flip(2, 3), channels)
    assert not torch.allclose(wrong, plain(values, mixing, kernels, channels), atol=0.1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_derivatives_of_second_order_and_in_forward_mode():
    given = draw(2, 1, 2, 2, 2, 2, (3, 2))
    assert torch.autograd.gradcheck(convolve_separably, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(convolve_separably, given)


def test_batched_by_vmap():
    values, *weights = (part.detach() for part in draw())
    many = torch.stack([values, 2 * values])
    found = torch.func.vmap(convolve_separably, in_dims=(0, None, None, None))(many, *weights)
    assert torch.allclose(found[1], plain(2 * values, *weights), atol=1e-10)


def test_memory_holds_input_and_output_alone():
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    given = draw(rank=4)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        convolve_separably(*given)
    assert sorted(kept) == sorted(part.numel() for part in given)
