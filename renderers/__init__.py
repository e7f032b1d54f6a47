"""Renderers: arrays in, arrays out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from renderers.base import Renderer
from renderers.errors import RendererError, RendererUnavailableError
from renderers.scene import Ambient, Camera, Floor, Mesh, Rendering, Scene, Spot

_CLASSES = {
    "embree": ("renderers.embree", "EmbreeRenderer"),
    "pyrender": ("renderers.pyrender", "PyrenderRenderer"),
    "blender": ("renderers.blender", "BlenderRenderer"),
}


def get(name: str = "embree", **settings: Any) -> Renderer:
    """Make a renderer by its name.

    Args:
        name: ``"embree"``, the default, ``"pyrender"`` or ``"blender"``.
        **settings: Settings of that renderer; see its class.

    Returns:
        A renderer; keep it, since it remembers what it prepared for the last mesh.

    Raises:
        RendererError: There is no renderer of this name, or a setting is out of its range.
        RendererUnavailableError: A package or system library that it needs is missing.

    Example:
        >>> get("embree", samples_per_side=2).name
        'embree'
    """
    return renderer_class(name)(**settings)


def renderer_class(name: str) -> type[Renderer]:
    """The class of a renderer, which says what it gives; nothing is started.

    Args:
        name: As in :func:`get`.

    Raises:
        RendererError: There is no renderer of this name.
        RendererUnavailableError: A package that its module needs is missing.

    Example:
        >>> renderer_class("embree").names_faces, renderer_class("pyrender").names_faces
        (True, False)
    """
    if name not in _CLASSES:
        raise RendererError(
            expected=f"one of {sorted(_CLASSES)}",
            got=repr(name),
            argument="name",
            advice="renderers.available() says which of them work here.",
        )
    module_name, class_name = _CLASSES[name]
    try:
        module = import_module(module_name)
    except ImportError as missing:
        raise RendererUnavailableError(
            expected=f"the packages of the renderer {name!r}",
            got=str(missing),
            argument="name",
            advice=f"Install them: pip install 'equivariant[{name}]'.",
        ) from missing
    found: type[Renderer] = getattr(module, class_name)
    return found


def available() -> dict[str, str]:
    """Try every renderer and say which work here.

    Trying pyrender gives this process its OpenGL platform: EGL, unless ``PYOPENGL_PLATFORM`` says
    otherwise.

    Returns:
        For each name ``"ready"`` or the reason why not, in one line.

    Example:
        >>> available()["embree"]
        'ready'
    """
    answers = {}
    for name in _CLASSES:
        try:
            get(name)
        except RendererError as reason:
            answers[name] = str(reason)
        else:
            answers[name] = "ready"
    return answers


__all__ = [
    "Ambient",
    "Camera",
    "Floor",
    "Mesh",
    "Renderer",
    "RendererError",
    "RendererUnavailableError",
    "Rendering",
    "Scene",
    "Spot",
    "available",
    "get",
    "renderer_class",
]
