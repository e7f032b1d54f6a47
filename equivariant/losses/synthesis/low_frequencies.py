"""Images with one image's low frequencies: light and color of another domain, shapes their own."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.synthesis.draws import uniform
from equivariant.shapes import Float


@torch.no_grad()
def share_low_frequencies(
    images: Float[Tensor, "n c h w"],
    *,
    least: float = 0.0,
    most: float = 0.1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n c h w"]:
    """The batch, all of its images with the low-frequency amplitudes of one of them.

        |F(y_i)|(k) = |F(x_r)|(k)  where |k_1| <= b h and |k_2| <= b w,  else |F(x_i)|(k)
        arg F(y_i)  = arg F(x_i),      r and b ~ U(least, most) drawn once for the batch

    k are frequencies of the discrete Fourier transform from -1/2 to 1/2 cycles per pixel, times
    the side. Called for each view anew, two views of an image differ in what a domain is, light
    and background, and a contrast of them learns the rest.

    Args:
        images: Shape (N, channels, height, width); results may leave their range a little.
        least: Smallest b, in [0, most]; b = 0 exchanges the means alone.
        most: Largest b, at most 1/2.
        generator: Of r and b.

    Returns:
        Shape of images.

    Raises:
        ShapeError: There is no image.
        ConventionError: The range of b is empty or leaves [0, 1/2].

    Example:
        >>> x = torch.rand(4, 3, 16, 16)
        >>> y = share_low_frequencies(x, most=0.1)
        >>> bool(torch.allclose(y.mean((2, 3)).var(0), torch.zeros(3), atol=1e-8))
        True

    Source: BSS (2024), batch styles standardization; the range of b is ours.
    """
    if images.ndim != 4 or not len(images):
        raise ShapeError(
            expected="images of shape (N, channels, height, width), N >= 1",
            got=f"shape {tuple(images.shape)}", argument="images", advice="Add the batch's axis.",
        )  # fmt: skip
    if not 0.0 <= least <= most <= 0.5:
        raise ConventionError(
            expected="0 <= least <= most <= 1/2", got=f"{least}, {most}", argument="most",
            advice="0.1 exchanges light and color, 1/2 all amplitudes.",
        )  # fmt: skip
    u = uniform((2,), like=images, generator=generator).tolist()
    chosen, border = int(u[0] * len(images)), least + u[1] * (most - least)
    spectrum = torch.fft.fft2(images.to(torch.float64))
    rows, columns = (torch.fft.fftfreq(n, device=images.device) for n in images.shape[2:])
    low = (rows.abs() <= border)[:, None] & (columns.abs() <= border)
    size = torch.where(low, spectrum[chosen].abs(), spectrum.abs())
    made: Tensor = torch.fft.ifft2(torch.polar(size, spectrum.angle())).real
    return made.to(images.dtype)
