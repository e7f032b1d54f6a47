"""Rasterization by pyrender on EGL or OSMesa, with a shadow map; the extra ``pyrender``."""

from __future__ import annotations

import ctypes.util
import math
import os
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from renderers.base import Renderer
from renderers.color import linear_from_srgb
from renderers.errors import RendererUnavailableError
from renderers.refusals import refuse_holes, refuse_lights
from renderers.scene import Mesh, Rendering, Scene, Spot, Triple, camera_axes
from renderers.surface import corner_colors, outward_normals, textured_faces
from renderers.validation import check_size

Platform = Literal["egl", "osmesa"]

REFERENCE_DISTANCE = 4.0
FLOOR_REACH = 200.0
NEAR, FAR = 0.05, 1000.0
SHADOW_NEAR, SHADOW_FAR = 0.05, 100.0
OBJECT_NUMBER, FLOOR_NUMBER = 1, 2
LIBRARIES: dict[Platform, tuple[str, str]] = {
    "egl": ("EGL", "libegl1 libegl-mesa0 libgl1-mesa-dri"),
    "osmesa": ("OSMesa", "libosmesa6"),
}


@dataclass
class _Stage:
    """A pyrender scene around one mesh, whose buffers stay on the device."""

    mesh: Mesh
    scene: Any
    thing: Any
    floor: Any
    camera: Any
    light: Any


class PyrenderRenderer(Renderer):
    """Rasterization through pyrender, on a GPU (EGL) or on the CPU (Mesa).

    pyrender keeps scene, buffers and shadow map; the shaders are ours and follow the same light
    as :class:`~renderers.embree.EmbreeRenderer`, so pictures of both look alike. What differs:
    edges are smoothed by four samples, in sRGB instead of linear light (EGL; OSMesa gives
    pyrender no multisampling, so edges are stepped); the shadow's edge follows a map of 2048²
    texels; texture filtering is the driver's, which averages sRGB levels and over the borders of
    ``texture_tiles``; the floor is a square of side 400 about the
    origin; what is nearer than 0.05 or farther than 1000 is cut away. Meshes whose texture cuts
    holes are refused, and scenes with further lights.

    Depth, normals (to 16 bits) and mask are those of the pixel's center. The shadow pass is
    computed from the shadow map; on EGL it is a majority over the samples where two surfaces
    share a pixel.

    OpenGL chooses its platform once per process, when it is first imported, from the environment
    variable ``PYOPENGL_PLATFORM``, which the constructor sets where nobody has. Set
    ``LP_NUM_THREADS=1`` for one CPU core per process.

    Args:
        platform: ``"egl"`` or ``"osmesa"``; None takes what ``PYOPENGL_PLATFORM`` says, or EGL.

    Raises:
        RendererUnavailableError: A package or a system library is missing, or this process
            has OpenGL on another platform.
    """

    name: ClassVar[str] = "pyrender"

    def __init__(self, platform: Platform | None = None) -> None:
        self.platform: Platform = _settle_platform(platform)
        self._engine = _import_engine(self.platform)
        self._canvas: Any = None
        self._stage: _Stage | None = None
        self._open(64)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as settings, without the context."""
        return type(self), (self.platform,)

    def render_rgb(self, scene: Scene, size_px: int) -> NDArray[np.uint8]:
        """Only the picture, without the time for the other passes.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            sRGB, shape (size, size, 3), uint8, row 0 on top.

        Raises:
            RendererError: The size is not positive.
        """
        stage = self._arrange(scene, size_px)
        return self._draw(stage, scene, 0.0)

    def render_rgb_and_mask(
        self, scene: Scene, size_px: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The picture of :meth:`render_rgb`, and where the object is; no other passes."""
        stage = self._arrange(scene, size_px)
        rgb = self._draw(stage, scene, 0.0)
        return rgb, self._segment(stage, 0)[0][..., 0] == OBJECT_NUMBER

    def render(self, scene: Scene, size_px: int) -> Rendering:
        """Render one square image with all its passes.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            All passes; see :class:`~renderers.scene.Rendering`.

        Raises:
            RendererError: The size is not positive.
        """
        stage = self._arrange(scene, size_px)
        rgb = self._draw(stage, scene, 0.0)
        shadow = self._draw(stage, scene, 1.0)[..., 0] > 127
        numbers, depth = self._segment(stage, 0)
        upper, lower = self._segment(stage, 1)[0], self._segment(stage, 2)[0]
        steps = upper.astype(np.float32) * 256.0 + lower.astype(np.float32)
        normals = steps / 32767.0 - 1.0
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-6)
        seen = numbers[..., 0] > 0
        return Rendering(
            rgb=rgb,
            depth=np.where(seen, depth, np.float32(np.inf)).astype(np.float32),
            normals=np.where(seen[..., None], normals, 0.0).astype(np.float32),
            mask=numbers[..., 0] == OBJECT_NUMBER,
            shadow=shadow & seen & (scene.spot is not None),
        )

    def _draw(self, stage: _Stage, scene: Scene, mode: float) -> NDArray[np.uint8]:
        flags = self._engine.RenderFlags
        stage.scene.ambient_light = np.array([scene.ambient.level, scene.ambient.sky, mode])
        picture, _ = self._canvas.render(stage.scene, flags=flags.SHADOWS_SPOT)
        image: NDArray[np.uint8] = np.array(picture)
        return image

    def _segment(self, stage: _Stage, mode: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        numbers = {
            stage.thing: (OBJECT_NUMBER, 0, mode),
            stage.floor: (FLOOR_NUMBER, 0, mode),
        }
        picture, depth = self._canvas.render(
            stage.scene, flags=self._engine.RenderFlags.SEG, seg_node_map=numbers
        )
        return np.array(picture), np.array(depth)

    def _open(self, size_px: int) -> None:
        """Make a context for images of this size; the stage's buffers belong to the old one."""
        if self._canvas is not None:
            self._canvas.delete()
        self._stage = None
        self._canvas = _open_canvas(self._engine, self.platform, size_px)
        cache = import_module("pyrender.shader_program").ShaderProgramCache
        self._canvas._renderer._program_cache = cache(str(Path(__file__).parent / "shaders"))

    def _arrange(self, scene: Scene, size_px: int) -> _Stage:
        """Bring the stage into the state of a scene."""
        check_size(size_px)
        refuse_lights(scene, self.name)
        if self._canvas.viewport_width != size_px:
            self._open(size_px)
        stage = self._stage
        if stage is None or stage.mesh is not scene.mesh:
            stage = self._stage = _build_stage(self._engine, scene.mesh)
        right, up, forward = camera_axes(scene.camera)
        stage.camera.camera.yfov = scene.camera.field_of_view_rad
        stage.scene.set_pose(
            stage.camera, _pose(np.stack([right, up, -forward], 1), scene.camera.position)
        )
        stage.scene.set_pose(stage.thing, _pose(scene.scale * scene.rotation, scene.translation))
        stage.floor.mesh.is_visible = scene.floor is not None
        if scene.floor is not None:
            stage.scene.set_pose(stage.floor, _pose(np.eye(3), (0.0, 0.0, scene.floor.height)))
            color = linear_from_srgb(scene.floor.color)
            stage.floor.mesh.primitives[0].material.baseColorFactor = np.append(color, 1.0)
        self._aim_light(stage, scene.spot)
        return stage

    def _aim_light(self, stage: _Stage, spot: Spot | None) -> None:
        light = stage.light.light
        if spot is None:
            light.intensity = 0.0
            return
        light.intensity = spot.energy * REFERENCE_DISTANCE**2
        light.color = linear_from_srgb(spot.color)
        light.innerConeAngle = 0.0
        light.outerConeAngle = spot.cone_rad / 2.0
        light.innerConeAngle = spot.cone_rad / 2.0 * (1.0 - spot.blend)
        camera = self._engine.PerspectiveCamera(
            yfov=min(spot.cone_rad * 1.02, 0.97 * math.pi),
            aspectRatio=1.0,
            znear=SHADOW_NEAR,
            zfar=SHADOW_FAR,
        )
        light._get_shadow_camera = lambda scale: camera
        backward = np.subtract(spot.position, spot.target)
        backward /= np.linalg.norm(backward)
        other = np.eye(3)[int(np.argmin(np.abs(backward)))]
        right = np.cross(other, backward)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(backward, right), backward], 1)
        stage.scene.set_pose(stage.light, _pose(axes, spot.position))


def _settle_platform(wanted: Platform | None) -> Platform:
    """The platform asked for, if this process can still have it and its library is here."""
    present = os.environ.get("PYOPENGL_PLATFORM")
    platform: Platform = wanted or ("osmesa" if present == "osmesa" else "egl")
    if present is None and "OpenGL" in sys.modules:
        present = "another, since OpenGL was imported before"
    if present is not None and present != platform:
        raise RendererUnavailableError(
            expected=f"PYOPENGL_PLATFORM={platform}",
            got=present,
            argument="platform",
            advice="OpenGL has one platform per process: start a new one for the other.",
        )
    library, packages = LIBRARIES[platform]
    if ctypes.util.find_library(library) is None:
        raise RendererUnavailableError(
            expected=f"the system library {library}",
            got="none",
            argument="platform",
            advice=f"Install it: apt-get install {packages}.",
        )
    return platform


def _import_engine(platform: Platform) -> Any:
    """Import pyrender, in the distribution that works."""
    installed = {name.lower() for name in ("pyrender", "pyrender2") if _has(name)}
    if "pyrender" in installed and "pyrender2" not in installed:
        if platform == "osmesa":
            raise RendererUnavailableError(
                expected="the distribution pyrender2",
                got="pyrender, whose pinned PyOpenGL cannot make an OSMesa context",
                argument="platform",
                advice="pip uninstall pyrender PyOpenGL && pip install pyrender2==0.2.2.",
            )
        if not hasattr(np, "infty"):
            vars(np)["infty"] = np.inf  # a name that numpy 2 removed and pyrender 0.1.45 uses
    untouched = "PYOPENGL_PLATFORM" not in os.environ
    os.environ["PYOPENGL_PLATFORM"] = platform
    try:
        return import_module("pyrender")
    except (ImportError, AttributeError, OSError) as missing:
        if untouched and "OpenGL" not in sys.modules:
            del os.environ["PYOPENGL_PLATFORM"]
        packages = LIBRARIES[platform][1]
        raise RendererUnavailableError(
            expected="the package pyrender2 and its OpenGL libraries",
            got=f"{type(missing).__name__}: {missing}",
            argument="pyrender",
            advice=f"pip install 'equivariant[pyrender]' and apt-get install {packages}.",
        ) from missing


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _open_canvas(engine: Any, platform: Platform, size_px: int) -> Any:
    try:
        return engine.OffscreenRenderer(size_px, size_px)
    except Exception as failure:  # PyOpenGL's errors share no other base class
        raise RendererUnavailableError(
            expected=f"an OpenGL 4.1 context on {platform}",
            got=f"{type(failure).__name__}: {failure}",
            argument="platform",
            advice=f"apt-get install {LIBRARIES[platform][1]}.",
        ) from failure


def _pose(axes: NDArray[np.float64], position: Triple) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = axes
    pose[:3, 3] = position
    return pose


def _build_stage(engine: Any, mesh: Mesh) -> _Stage:
    refuse_holes(mesh, PyrenderRenderer.name)
    scene = engine.Scene(bg_color=(0.0, 0.0, 0.0, 1.0))
    thing = engine.Node(mesh=engine.Mesh(_primitives(engine, mesh)))
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    square = engine.Primitive(
        positions=FLOOR_REACH * np.concatenate([corners, corners[::-1]]),
        normals=np.repeat([[0.0, 0, 1], [0, 0, -1]], 6, axis=0),
        material=engine.MetallicRoughnessMaterial(),
    )
    floor = engine.Node(mesh=engine.Mesh([square]))
    camera = engine.Node(
        camera=engine.PerspectiveCamera(yfov=1.0, aspectRatio=1.0, znear=NEAR, zfar=FAR)
    )
    light = engine.Node(light=engine.SpotLight(color=np.ones(3), intensity=1.0))
    for node in (thing, floor, camera, light):
        scene.add_node(node)
    return _Stage(mesh, scene, thing, floor, camera, light)


def _primitives(engine: Any, mesh: Mesh) -> list[Any]:
    """Every triangle twice, wound both ways: each side is drawn with normals of its own."""
    corners = mesh.vertices[mesh.faces]
    normals = outward_normals(mesh)
    textured = textured_faces(mesh)
    primitives = []
    for faces, material in (
        (~textured, engine.MetallicRoughnessMaterial()),
        (textured, _textured_material(engine, mesh)),
    ):
        if faces.any():
            looks: dict[str, Any] = {"color_0": _soup(corner_colors(mesh)[faces])}
            if mesh.corner_uv is not None and material.baseColorTexture is not None:
                looks |= {"texcoord_0": _soup(np.nan_to_num(mesh.corner_uv[faces]))}
            primitives.append(
                engine.Primitive(
                    positions=_soup(corners[faces]),
                    normals=_soup(normals[faces], mirror=-1.0),
                    material=material,
                    **looks,
                )
            )
    return primitives


def _soup(corners: NDArray[Any], mirror: float = 1.0) -> NDArray[Any]:
    both: NDArray[Any] = np.concatenate([corners, mirror * corners[:, ::-1]])
    return both.reshape(-1, corners.shape[2]).astype(np.float32)


def _textured_material(engine: Any, mesh: Mesh) -> Any:
    if mesh.texture is None:
        return engine.MetallicRoughnessMaterial()
    opaque = np.full((*mesh.texture.shape[:2], 1), 255, np.uint8)
    texture = engine.Texture(
        source=np.concatenate([mesh.texture, opaque], 2),
        source_channels="RGBA",
        data_format=import_module("OpenGL.GL").GL_UNSIGNED_BYTE,
    )
    return engine.MetallicRoughnessMaterial(baseColorTexture=texture)
