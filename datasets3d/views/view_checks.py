"""What every view must be before it is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.config import BuildConfig
from datasets3d.views.latents import nothing
from equivariant.errors import ConventionError, DataFormatError
from renderers import Renderer


def check_view(
    image: NDArray[np.uint8],
    latent: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    view: int,
    size_px: int,
) -> bool:
    """Refuse a view that does not show its object, or that is no picture or has no finite latent.

    Args:
        image: sRGB, shape (size, size, 3), uint8.
        latent: Shape (7 or more,), float64.
        mask: Where the object is, shape (size, size), at the pixels' centers.
        view: Its index, for messages.
        size_px: Side that was asked for.

    Returns:
        Whether the object reaches the border of the picture, which may cut it off.

    Raises:
        DataFormatError: The picture has another shape or type, a number of the latent is not
            finite, or no pixel shows the object.

    Example:
        >>> mask = np.zeros((8, 8), bool)
        >>> mask[3:5, 3:8] = True
        >>> check_view(np.zeros((8, 8, 3), np.uint8), np.zeros(7), mask, view=0, size_px=8)
        True
    """
    if image.shape != (size_px, size_px, 3) or image.dtype != np.uint8:
        raise _refuse(
            view, f"a picture of {size_px} x {size_px} px, uint8",
            f"{image.dtype} of shape {image.shape}", "The renderer is at fault.",
        )  # fmt: skip
    if not np.isfinite(latent).all():
        raise _refuse(view, "finite numbers", f"{latent.tolist()}", "The law is at fault.")
    if not mask.any():
        raise _refuse(
            view, "an object that is seen", "no pixel that shows it",
            "It is thinner than a pixel or out of the frame: render larger, or change the law.",
        )  # fmt: skip
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def check_lights(config: BuildConfig, renderer: Renderer | type[Renderer]) -> None:
    """Refuse a law with several lights where the renderer shows one, before anything is rendered.

    Args:
        config: Whose law is asked for the scene of a view.
        renderer: Or its class.

    Raises:
        ConventionError: It does not show them; names it.
    """
    if renderer.several_lights:
        return
    latent = config.law.sample(config.seed, "class/object", view=0)
    lights = len(config.law.scene(nothing(), latent).lights)
    if lights:
        raise ConventionError(
            expected=f"the spot alone: {config.renderer!r} does not show other lights",
            got=f"{lights} further lights", argument="config.law",
            advice='Use "embree", or leave FurtherLights (--factors lights) out.',
        )  # fmt: skip


def _refuse(view: int, expected: str, got: str, advice: str) -> DataFormatError:
    return DataFormatError(expected=expected, got=got, argument=f"view {view}", advice=advice)
