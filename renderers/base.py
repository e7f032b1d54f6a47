"""The interface that every renderer fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from renderers.errors import RendererError
from renderers.scene import Rendering, Scene

PIXELS: Final = "2"  # raise it when the same packages come to other pixels


class Renderer(ABC):
    """Turns a scene into arrays.

    A renderer is made once per process and used for many scenes. It keeps what it prepared for
    the last mesh, so render all views of one object in a row. Rendering is deterministic: the
    same scene and size give the same bytes, whatever was rendered before.
    """

    name: ClassVar[str]

    names_faces: ClassVar[bool] = False
    """Whether ``render`` says which face each pixel sees."""

    gives_alpha: ClassVar[bool] = False
    """Whether ``render_rgba`` renders the object alone, with its coverage."""

    several_lights: ClassVar[bool] = False
    """Whether ``Scene.lights`` are shown; scenes with any are refused otherwise."""

    @abstractmethod
    def render(self, scene: Scene, size_px: int) -> Rendering:
        """Render one square image.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            All passes; see :class:`~renderers.scene.Rendering`.

        Raises:
            RendererError: A field of the scene is out of its range.
        """

    @abstractmethod
    def render_rgb(self, scene: Scene, size_px: int) -> NDArray[np.uint8]:
        """Only the picture, without the time for the other passes."""

    def render_rgb_and_mask(
        self, scene: Scene, size_px: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The picture of :meth:`render_rgb`, and where the object is.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            sRGB, shape (size, size, 3), uint8; the mask of :meth:`render`, shape (size, size).

        Raises:
            RendererError: A field of the scene is out of its range.
        """
        rendering = self.render(scene, size_px)
        return rendering.rgb, rendering.mask

    def render_rgba(self, scene: Scene, size_px: int) -> NDArray[np.uint8]:
        """The object alone, without the floor, and the share of each pixel that it covers.

        Colors are means over what of the pixel the object covers, in linear light, so laid over a
        background b they give alpha * color + (1 - alpha) * b without a rim.

        Args:
            scene: What to show; its floor is left out.
            size_px: Side of the image, at least 1.

        Returns:
            sRGB and alpha, not multiplied, shape (size, size, 4), uint8; zero where alpha is.

        Raises:
            RendererError: This renderer does not give it, or a field of the scene is out of its
                range.
        """
        raise RendererError(
            expected="a renderer that gives the object alone", got=repr(self.name),
            argument="renderer", advice='Use "embree".',
        )  # fmt: skip
