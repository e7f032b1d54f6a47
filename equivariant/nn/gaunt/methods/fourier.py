"""Products by Fourier series on the torus, the method of Luo et al.: a reference, never fastest.

The polar angle is continued to the whole circle. Every harmonic is then a trigonometric
polynomial in both angles, a product of functions is a convolution of their series, and integrals
against a harmonic are sums over the series. All tables are exact up to rounding: those of the
harmonics from a discrete transform that resolves them, those of the integrals in closed form.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization, degree_scales, real_harmonics
from equivariant.nn.gaunt.methods.sampling import Samples, Sampling


class Fourier(Sampling):
    """Convolution of Fourier series by fast transforms.

        f = Σ_uv X_uv exp(i(uθ + vφ)),  z_c = Σ_uv Z_uv ∫∫ exp(i(uθ + vφ)) Y_c sin θ dθ dφ

    with Z the convolution of X and Y. In a bracket the sine cancels.

    Args:
        degrees: Largest degrees of the three functions, in any order.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        dtype: Of the operands.
        device: Of the operands.
        real: Keep v >= 0 only and use transforms of real functions.
    """

    def __init__(
        self,
        degrees: tuple[int, ...],
        kind: Kind,
        normalization: Normalization,
        dtype: torch.dtype,
        device: torch.device,
        *,
        real: bool,
    ) -> None:
        self.kind, self.real = kind, real
        self.period = 2 * sum(degrees) - 2 * min(degrees) + 1
        self.settings = (normalization, dtype, device)
        self.points = 2 * self.period**2

    def sample(self, x: Tensor, degree: int) -> Samples:
        """See :class:`Sampling`: values on the torus, or both derivatives."""
        table = series(degree, self.period, *self.settings)
        if self.real:
            table = table[:, :, : self.period // 2 + 1]
        result = []
        for one in (table,) if self.kind == "even" else _derived(table):
            spectrum = (one.flatten(1).T @ x.to(one.dtype)).mT
            shape = (*spectrum.shape[:-1], self.period, -1)
            if self.real:
                period = (self.period, self.period)
                values = torch.fft.irfft2(spectrum.reshape(shape), s=period, norm="forward")
            else:
                values = torch.fft.ifft2(spectrum.reshape(shape), norm="forward")
            result.append(values.flatten(-2).mT)
        return tuple(result)

    def combine(self, first: Samples, second: Samples) -> Samples:
        """See :class:`Sampling`."""
        if self.kind == "even":
            return (first[0] * second[0],)
        return (first[0] * second[1] - first[1] * second[0],)

    def project(self, samples: Samples, degree: int) -> Tensor:
        """See :class:`Sampling`."""
        table = integrals(degree, self.period, self.kind, *self.settings)
        values = samples[0].mT
        torus = values.reshape(*values.shape[:-1], self.period, self.period)
        if not self.real:
            spectrum = torch.fft.fft2(torus, norm="forward").flatten(-2)
            found: Tensor = (spectrum @ table.flatten(1).T).real.mT
            return found
        half = torch.fft.rfft2(torus, norm="forward").flatten(-2)
        table = table[:, :, : self.period // 2 + 1].clone()
        table[:, :, 1:] *= 2
        table = table.flatten(1).T
        result: Tensor = (half.real @ table.real - half.imag @ table.imag).mT
        return result


def frequencies(period: int) -> Tensor:
    """0, 1, ..., (period−1)/2, −(period−1)/2, ..., −1, as discrete transforms have them.

    Args:
        period: Odd.

    Returns:
        Shape (period,), float64.

    Example:
        >>> frequencies(5).tolist()
        [0.0, 1.0, 2.0, -2.0, -1.0]
    """
    found: Tensor = torch.fft.fftfreq(period, 1 / period, dtype=torch.float64, device="cpu")
    return found.round()


@lru_cache(maxsize=64)
def series(
    degree: int,
    period: int,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Fourier coefficients of every harmonic on the torus.

        Y_lm(θ, φ) = Σ_uv y_uv exp(i(uθ + vφ))

    Args:
        degree: Largest degree.
        period: Odd number of frequencies, at least 2·degree + 1.
        normalization: See :func:`real_harmonics`.
        dtype: Real precision.
        device: Of the result.

    Returns:
        Shape ((degree+1)², period, period), complex. Shared: do not write into it.

    Example:
        >>> y = series(1, 5, "norm", torch.float64, torch.device("cpu"))
        >>> y[2, :, 0].real.round(decimals=9).tolist()  # cos θ
        [0.0, 0.5, 0.0, 0.0, 0.5]
    """
    with torch.inference_mode(False), torch.no_grad():
        angle = torch.arange(period, dtype=torch.float64, device="cpu") * (2 * math.pi / period)
        theta, phi = angle[:, None], angle[None, :]
        sine = theta.sin()
        x, y, z = sine * phi.sin(), theta.cos().expand(period, period), sine * phi.cos()
        values = real_harmonics(degree, torch.stack([x, y, z], -1), normalization)
        table = torch.fft.fft2(values.movedim(-1, 0), norm="forward")
        tiny = 1e-14 * float(table.abs().max())
        parts = [torch.where(part.abs() > tiny, part, 0.0) for part in (table.real, table.imag)]
        return torch.complex(*parts).to(device, _complex(dtype))


@lru_cache(maxsize=64)
def integrals(
    degree: int,
    period: int,
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """What every exponential contributes to every coefficient.

        ζ_uv = ∫₀^π ∫₀^2π exp(i(uθ + vφ)) Y_lm s(θ) dφ dθ = 2π Σ_u' I(u + u') y_u',−v

    with s = sin θ for products and 1 for brackets, and I(k) = ∫₀^π exp(ikθ) s(θ) dθ.

    Args:
        degree: Largest degree.
        period: Odd number of frequencies.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`; other than "integral" divides by 4π.
        dtype: Real precision.
        device: Of the result.

    Returns:
        Shape ((degree+1)², period, period), complex. Shared: do not write into it.

    Example:
        >>> z = integrals(0, 3, "even", "norm", torch.float64, torch.device("cpu"))
        >>> round(z[0, 0, 0].real.item(), 12)  # the mean of 1
        1.0
    """
    with torch.inference_mode(False), torch.no_grad():
        cpu = torch.device("cpu")
        own = series(degree, 2 * degree + 1, "integral", torch.float64, cpu)
        wide, narrow = frequencies(period), frequencies(2 * degree + 1)
        moment = _moment(wide[:, None] + narrow[None, :], kind)
        opposite = own[:, :, torch.arange(2 * degree + 1).neg() % (2 * degree + 1)]
        found = 2 * math.pi * torch.einsum("uw,cwv->cuv", moment, opposite)
        whole = found.new_zeros(len(found), period, period)
        whole[:, :, narrow.long() % period] = found
        whole = whole * degree_scales(degree, normalization)[:, None, None]
        if normalization != "integral":
            whole = whole / (4 * math.pi)
        return whole.to(device, _complex(dtype))


def _moment(k: Tensor, kind: Kind) -> Tensor:
    """∫₀^π exp(ikθ) sin θ dθ, or without the sine, for whole k; complex128."""
    even = k % 2 == 0
    zero = torch.zeros_like(k)
    if kind == "even":
        real = torch.where(even, 2 / torch.where(even, 1 - k * k, 1.0), zero)
        imaginary = torch.where(k.abs() == 1, k * (math.pi / 2), zero)
    else:
        real = torch.where(k == 0, math.pi, zero)
        imaginary = torch.where(even, zero, 2 / torch.where(even, 1.0, k))
    return torch.complex(real, imaginary)


def _derived(table: Tensor) -> tuple[Tensor, Tensor]:
    """Series of the derivatives by θ and by φ."""
    u = frequencies(table.shape[1]).to(table.device, table.real.dtype)
    v = u[: table.shape[2]]
    return table * (1j * u)[:, None], table * (1j * v)


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64


@lru_cache(maxsize=256)
def fourier(
    degrees: tuple[int, ...],
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
    *,
    real: bool,
) -> Fourier:
    """The method for given sizes; see :class:`Fourier` for the arguments.

    Returns:
        One object per set of arguments.

    Example:
        >>> settings = ("even", "integral", torch.float32, torch.device("cpu"))
        >>> fourier((1, 1, 1), *settings, real=True).period
        5
    """
    return Fourier(degrees, kind, normalization, dtype, device, real=real)
