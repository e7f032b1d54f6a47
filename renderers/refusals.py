"""What a renderer does not show is refused by name."""

from __future__ import annotations

from renderers.errors import RendererError
from renderers.scene import Mesh, Scene


def refuse_holes(mesh: Mesh, renderer: str) -> None:
    """Refuse a mesh whose texture cuts holes that a renderer does not show.

    Args:
        mesh: With or without holes.
        renderer: Its name.

    Raises:
        RendererError: The mesh has holes.
    """
    if mesh.texture_cutout is not None and mesh.texture_cutout.min() < 128:
        raise RendererError(
            expected=f"a surface without holes: {renderer} does not show them",
            got="a texture that cuts holes (texture_cutout)",
            argument="mesh",
            advice="Render it with embree.",
        )


def refuse_lights(scene: Scene, renderer: str) -> None:
    """Refuse a scene with lights that a renderer does not show.

    Args:
        scene: With or without further lights.
        renderer: Its name.

    Raises:
        RendererError: The scene has further lights.
    """
    if scene.lights:
        raise RendererError(
            expected=f"one spot: {renderer} does not show others",
            got=f"{len(scene.lights)} further lights",
            argument="lights",
            advice="Render it with embree.",
        )
