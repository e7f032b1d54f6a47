"""Spectra against sums of waves; hinges and kernels against loops."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.losses import kernel_discrepancy, share_low_frequencies, triviality
from equivariant.losses.synthesis.draws import uniform


def transform(image):
    """The discrete Fourier transform by its definition."""
    h, w = image.shape
    return {
        (a, b): sum(
            float(image[y, x]) * cmath.exp(-2j * math.pi * (a * y / h + b * x / w))
            for y in range(h) for x in range(w)
        )
        for a in range(h) for b in range(w)
    }  # fmt: skip


def frequency(k, n):
    return min(k, n - k) / n


@pytest.mark.parametrize("shape", [(6, 5), (4, 8)])
def test_low_amplitudes_are_the_chosen_image_s_and_all_phases_its_own(shape):
    x = torch.rand(3, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    least, most = 0.25, 0.3
    y = share_low_frequencies(x, least=least, most=most, generator=torch.Generator().manual_seed(5))
    u = uniform((2,), like=x, generator=torch.Generator().manual_seed(5)).tolist()
    chosen, border = int(u[0] * 3), least + u[1] * (most - least)
    spectra, made = [transform(i[0]) for i in x], [transform(i[0]) for i in y]
    inside = 0
    for i in range(3):
        for (a, b), value in made[i].items():
            low = frequency(a, shape[0]) <= border and frequency(b, shape[1]) <= border
            inside += low
            source = spectra[chosen if low else i][a, b]
            assert abs(value) == pytest.approx(abs(source), abs=1e-9)
            if abs(source) > 1e-6:
                turned = value / abs(value) - spectra[i][a, b] / abs(spectra[i][a, b])
                assert abs(turned) < 1e-7
    assert 3 < inside < 3 * shape[0] * shape[1]
    torch.testing.assert_close(y[chosen], x[chosen])
    twin = x[chosen].expand_as(x)  # phases exchanged as well
    assert (y - twin).abs().max() > 0.1


def test_limits_of_the_border():
    x = torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    y = share_low_frequencies(x, most=0.0, generator=torch.Generator().manual_seed(1))
    assert float(y.mean((2, 3)).var(0).max()) < 1e-10  # means alone
    rest = x - x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(y - y.mean((2, 3), keepdim=True), rest)
    one = share_low_frequencies(x[:1], most=0.5)
    torch.testing.assert_close(one, x[:1])
    every = share_low_frequencies(x, least=0.5, most=0.5)
    size = torch.fft.fft2(every.double()).abs()
    assert float((size - size[:1]).abs().max()) < 1e-4


def test_triviality_by_loops():
    a, b = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    above, apart = [], []
    for i in range(7):
        p, n = float(a[i] @ b[i]), [float(a[i] @ b[j]) for j in range(7) if j != i]
        above.append(max(p - min(p, max(n)), 0.0))
        apart += [max(max(p, max(n)) - v, 0.0) for v in n]
    expected = sum(above) / 7 + sum(apart) / 42
    assert float(triviality(a, b)) == pytest.approx(expected)
    assert float(triviality(torch.ones(3, 2), torch.ones(3, 2))) == 0.0
    twin = sum(above) / 7
    assert abs(float(triviality(a, b)) - twin) > 0.1


def test_kernel_discrepancy_by_loops():
    draws = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 3, generator=draws, dtype=torch.float64) for n in (5, 8))
    rows = [*x, *y]
    scale = sum(float((u - v).square().sum()) for u in rows for v in rows) / len(rows) ** 2

    def kernel(u, v):
        square = float((u - v).square().sum())
        return sum(math.exp(-square / (2 * b * b * scale)) for b in (0.5, 1.0, 2.0))

    def mean(first, second):
        return sum(kernel(u, v) for u in first for v in second) / len(first) / len(second)

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert float(kernel_discrepancy(x, y)) == pytest.approx(expected)
    assert float(kernel_discrepancy(x, x)) == pytest.approx(0.0, abs=1e-12)
    near, far = (float(kernel_discrepancy(x, x + d)) for d in (0.1, 1.0))
    assert 0 < near < far
    z = x.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: kernel_discrepancy(z, y, bandwidths=(1e3,)), (z,))


@pytest.mark.parametrize(
    "call",
    [
        lambda: share_low_frequencies(torch.rand(2, 1, 4, 4), least=0.3, most=0.2),
        lambda: share_low_frequencies(torch.rand(2, 1, 4, 4), most=0.6),
        lambda: share_low_frequencies(torch.rand(0, 1, 4, 4)),
        lambda: triviality(torch.rand(1, 3), torch.rand(1, 3)),
        lambda: kernel_discrepancy(torch.rand(2, 3), torch.rand(2, 3), bandwidths=()),
        lambda: kernel_discrepancy(torch.rand(0, 3), torch.rand(2, 3)),
    ],
)
def test_refusals(call):
    with pytest.raises((EquivariantError, TypeCheckError)):
        call()
