"""Path tracing by Blender's Cycles on the CPU, through bpy; the extra ``blender``."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from renderers.base import Renderer
from renderers.blender_data import (
    PAINT,
    flat_material,
    floor_mesh,
    linear_texture,
    night,
    painted_material,
    set_sky,
    triangles,
    two_tone_sky,
)
from renderers.color import linear_from_srgb, srgb_from_linear
from renderers.errors import RendererUnavailableError
from renderers.refusals import refuse_holes, refuse_lights
from renderers.scene import Mesh, Rendering, Scene, Spot, Triple, camera_axes
from renderers.surface import corner_colors, outward_normals, textured_faces
from renderers.validation import check_size, expect

REFERENCE_DISTANCE = 4.0
NEAR, FAR = 1e-3, 1e5
OBJECT_NUMBER, FLOOR_NUMBER = 1, 2
PICTURE, SURFACE, LIGHT = "picture", "surface", "light"
LIBRARIES = "libgl1 libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libxext6"


@dataclass
class _Thing:
    """The object of one mesh, and what has to go when another mesh comes."""

    mesh: Mesh
    thing: Any
    texture: Any


class BlenderRenderer(Renderer):
    """Path tracing on the CPU: indirect light, contact shadows, noise; seconds per picture.

    Lights and surfaces are those of :class:`~renderers.embree.EmbreeRenderer`: a spot without
    size, hence a hard shadow, with the same cone and brightness; diffuse surfaces; a sky of two
    tones whose light on an open surface is the ambient formula. What differs: light is blocked
    and bounces, so nooks are darker and colors bleed; there is noise, less with more samples;
    pictures are averaged over the pixel's square; the floor is a square of side 400 about the
    origin; a cone below 1 degree is refused, since Blender would widen it. ``bounces=0`` leaves
    direct light only.

    Pictures are Cycles' linear light, clipped at 1 and encoded as sRGB, which Blender calls the
    view transform "Standard". Depth, normals and mask come from a second render with one ray
    through each pixel's center, within a hundredth of a pixel. So does the shadow: a pixel
    is in shadow where the surface point, found from its depth, lies in the spot's cone by
    formula, and Cycles brings no direct light to it from a spot that is alone in the scene, on
    surfaces shaded by the triangles' own normals.

    Blender's data belong to the process. Each renderer keeps a scene of its own in them and
    leaves the others alone.

    Args:
        samples: Paths per pixel of the picture, at least 1.
        bounces: How often light goes on from a surface, at least 0.
        denoise: Whether Intel's Open Image Denoise smooths the picture.
        noise_threshold: Pixels take no more paths once Cycles estimates their noise below this, at
            least 0; 0 gives all pixels all paths. Blender's own default is 0.01.

    Raises:
        RendererError: A setting is out of its range.
        RendererUnavailableError: bpy or a system library that it needs is missing.
    """

    name: ClassVar[str] = "blender"

    def __init__(
        self,
        samples: int = 64,
        *,
        bounces: int = 3,
        denoise: bool = False,
        noise_threshold: float = 0.0,
    ) -> None:
        expect(samples >= 1, "samples", "at least 1", str(samples))
        expect(bounces >= 0, "bounces", "at least 0", str(bounces))
        fine = 0.0 <= noise_threshold < math.inf
        expect(fine, "noise_threshold", "at least 0", str(noise_threshold))
        self.samples, self.bounces, self.denoise = samples, bounces, denoise
        self.noise_threshold = noise_threshold
        self._bpy, self._images = _import_engine()
        self._scene = _new_scene(self._bpy, bounces)
        self._camera = _add(self._bpy, self._scene, self._bpy.data.cameras.new("camera"))
        self._light = _add(self._bpy, self._scene, self._bpy.data.lights.new("spot", "SPOT"))
        self._floor = _add(self._bpy, self._scene, floor_mesh(self._bpy))
        self._floor.pass_index = FLOOR_NUMBER
        self._scene.camera = self._camera
        self._sky, self._sky_tones = two_tone_sky(self._bpy)
        self._night = night(self._bpy)
        self._thing: _Thing | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as settings, without Blender's data."""
        return _rebuild, (self.samples, self.bounces, self.denoise, self.noise_threshold)

    def render_rgb(self, scene: Scene, size_px: int) -> NDArray[np.uint8]:
        """Only the picture, without the time for the other passes.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            sRGB, shape (size, size, 3), uint8, row 0 on top.

        Raises:
            RendererError: The size is not positive, or the spot's cone is below 1 degree.
        """
        self._arrange(scene, size_px)
        return self._picture(scene)

    def render(self, scene: Scene, size_px: int) -> Rendering:
        """Render one square image with all its passes.

        Args:
            scene: What to show.
            size_px: Side of the image, at least 1.

        Returns:
            All passes; see :class:`~renderers.scene.Rendering`.

        Raises:
            RendererError: The size is not positive, or the spot's cone is below 1 degree.
        """
        self._arrange(scene, size_px)
        rgb = self._picture(scene)
        passes = self._passes(scene)
        number = np.rint(passes[f"{SURFACE}.Object Index.X"])
        seen = number > 0
        depth = np.where(seen, passes[f"{SURFACE}.Depth.Z"], np.float32(np.inf))
        normals = np.stack([passes[f"{SURFACE}.Normal.{axis}"] for axis in "XYZ"], 2)
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-6)
        dark = passes[f"{LIGHT}.Diffuse Direct.R"] <= 0.0
        shadow = np.zeros_like(seen)
        if scene.spot is not None:
            shadow = seen & dark & _in_cone(scene, scene.spot, depth)
        return Rendering(
            rgb=rgb,
            depth=depth.astype(np.float32),
            normals=np.where(seen[..., None], normals, 0.0).astype(np.float32),
            mask=number == OBJECT_NUMBER,
            shadow=shadow,
        )

    def _picture(self, scene: Scene) -> NDArray[np.uint8]:
        cycles = self._scene.cycles
        cycles.samples, cycles.pixel_filter_type = self.samples, "BOX"
        cycles.use_denoising = self.denoise
        cycles.use_adaptive_sampling = self.noise_threshold > 0.0
        cycles.adaptive_threshold = self.noise_threshold
        self._scene.world = self._sky
        if scene.spot is not None:
            light = self._light.data
            light.energy = scene.spot.energy * 4.0 * (math.pi * REFERENCE_DISTANCE) ** 2
            light.color = linear_from_srgb(scene.spot.color)
        planes = self._trace(PICTURE)
        linear = np.stack([planes[f"{PICTURE}.Combined.{channel}"] for channel in "RGB"], 2)
        image: NDArray[np.uint8] = np.rint(255.0 * srgb_from_linear(linear)).astype(np.uint8)
        return image

    def _passes(self, scene: Scene) -> dict[str, NDArray[np.float32]]:
        """One ray through each pixel's center, under a white spot alone."""
        cycles = self._scene.cycles
        cycles.samples, cycles.use_denoising, cycles.use_adaptive_sampling = 1, False, False
        cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 0.01
        self._scene.world = self._night
        light = self._light.data
        light.energy, light.color = 1000.0, (1.0, 1.0, 1.0)
        if scene.spot is not None:  # the cone's own rim is found by formula
            light.spot_size = min(1.1 * scene.spot.cone_rad, math.pi)
        return self._trace(SURFACE, LIGHT)

    def _trace(self, *layers: str) -> dict[str, NDArray[np.float32]]:
        """Render some view layers; each channel by its name, row 0 on top."""
        for layer in self._scene.view_layers:
            layer.use = layer.name in layers
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "passes.exr")
            self._scene.render.filepath = path
            with _silence():
                self._bpy.ops.render.render(write_still=True, scene=self._scene.name)
            return _read_channels(self._images, path)

    def _arrange(self, scene: Scene, size_px: int) -> None:
        """Bring Blender's scene into the state of ours."""
        check_size(size_px)
        refuse_lights(scene, self.name)
        render = self._scene.render
        render.resolution_x = render.resolution_y = size_px
        thing = self._thing
        if thing is None or thing.mesh is not scene.mesh:
            self._forget()
            thing = self._thing = _build_thing(self._bpy, self._scene, scene.mesh)
        thing.thing.matrix_world = _pose(scene.scale * scene.rotation, scene.translation)
        right, up, forward = camera_axes(scene.camera)
        axes = np.stack([right, up, -forward], 1)
        self._camera.data.angle = scene.camera.field_of_view_rad
        self._camera.data.clip_start, self._camera.data.clip_end = NEAR, FAR
        self._camera.matrix_world = _pose(axes, scene.camera.position)
        self._floor.hide_render = scene.floor is None
        if scene.floor is not None:
            self._floor.matrix_world = _pose(np.eye(3), (0.0, 0.0, scene.floor.height))
            color = np.append(linear_from_srgb(scene.floor.color), 1.0).astype(np.float32)
            self._floor.data.color_attributes[PAINT].data.foreach_set("color", np.tile(color, 6))
            self._floor.data.update_tag()
        self._aim_light(scene.spot)
        set_sky(self._sky_tones, scene.ambient)

    def _aim_light(self, spot: Spot | None) -> None:
        self._light.hide_render = spot is None
        if spot is None:
            return
        light = self._light.data
        light.shadow_soft_size = 0.0
        light.spot_size = spot.cone_rad
        expect(
            abs(light.spot_size - spot.cone_rad) < 1e-4,
            "cone_rad",
            f"a cone that Blender takes; the nearest is {light.spot_size:.4f}",
            str(spot.cone_rad),
        )
        outer = math.cos(spot.cone_rad / 2.0)
        inner = math.cos(spot.cone_rad / 2.0 * (1.0 - spot.blend))
        light.spot_blend = (inner - outer) / (1.0 - outer)
        backward = np.subtract(spot.position, spot.target)
        backward /= np.linalg.norm(backward)
        right = np.cross(np.eye(3)[int(np.argmin(np.abs(backward)))], backward)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(backward, right), backward], 1)
        self._light.matrix_world = _pose(axes, spot.position)

    def _forget(self) -> None:
        """Free what belongs to the last mesh."""
        if self._thing is None:
            return
        data = self._bpy.data
        surface = self._thing.thing.data
        materials = list(surface.materials)
        data.objects.remove(self._thing.thing)
        data.meshes.remove(surface)
        for material in materials:
            data.materials.remove(material)
        if self._thing.texture is not None:
            data.images.remove(self._thing.texture)
        self._thing = None


def _rebuild(samples: int, bounces: int, denoise: bool, noise: float) -> BlenderRenderer:
    return BlenderRenderer(samples, bounces=bounces, denoise=denoise, noise_threshold=noise)


def _import_engine() -> tuple[Any, Any]:
    """bpy, and the OpenImageIO in its folder, which reads what it renders."""
    try:
        with _silence():
            bpy = import_module("bpy")
        root = Path(bpy.utils.resource_path("LOCAL")) / "python" / "lib"
        sys.path.append(str(root / f"python3.{sys.version_info.minor}" / "site-packages"))
        try:
            return bpy, import_module("OpenImageIO")
        finally:
            sys.path.pop()
    except ImportError as missing:
        absent = isinstance(missing, ModuleNotFoundError)
        raise RendererUnavailableError(
            expected="the package bpy" if absent else "the system libraries of bpy",
            got=str(missing),
            argument="bpy",
            advice=(
                "pip install 'equivariant[blender]' in an environment of Python 3.11 and numpy < 2."
                if absent
                else f"Install them: apt-get install {LIBRARIES}."
            ),
        ) from missing


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Blender's messages from the process's output, where C code writes them."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _new_scene(bpy: Any, bounces: int) -> Any:
    """An empty scene with the view layers of picture, surface and light."""
    scene = bpy.data.scenes.new("equivariant")
    render, cycles = scene.render, scene.cycles
    render.engine, cycles.device = "CYCLES", "CPU"
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = render.use_file_extension = False
    render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    cycles.seed, cycles.use_animated_seed, cycles.use_adaptive_sampling = 0, False, False
    cycles.light_sampling_threshold, cycles.use_light_tree = 0.0, False
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = 0.0
    cycles.max_bounces = cycles.diffuse_bounces = bounces
    scene.view_layers[0].name = PICTURE
    surface, light = scene.view_layers.new(SURFACE), scene.view_layers.new(LIGHT)
    surface.use_pass_z = surface.use_pass_normal = surface.use_pass_object_index = True
    light.use_pass_diffuse_direct = True
    light.material_override = flat_material(bpy)
    return scene


def _add(bpy: Any, scene: Any, data: Any) -> Any:
    item = bpy.data.objects.new(data.name, data)
    scene.collection.objects.link(item)
    return item


def _pose(axes: NDArray[np.float64], position: Triple) -> list[list[float]]:
    """A 4 x 4 matrix by columns, as Blender takes it."""
    pose = np.eye(4)
    pose[:3, :3] = axes
    pose[:3, 3] = position
    columns: list[list[float]] = pose.T.tolist()
    return columns


def _build_thing(bpy: Any, scene: Any, mesh: Mesh) -> _Thing:
    refuse_holes(mesh, BlenderRenderer.name)
    surface = triangles(bpy, mesh.vertices[mesh.faces], outward_normals(mesh), corner_colors(mesh))
    surface.materials.append(painted_material(bpy))
    texture = None
    if mesh.texture is not None and mesh.corner_uv is not None:
        layer = surface.uv_layers.new(name="uv")
        layer.uv.foreach_set("vector", np.nan_to_num(mesh.corner_uv).astype(np.float32).ravel())
        texture = linear_texture(bpy, mesh.texture)
        surface.materials.append(painted_material(bpy, texture))
        chosen = textured_faces(mesh).astype(np.int32)
        surface.polygons.foreach_set("material_index", chosen)
    thing = _add(bpy, scene, surface)
    thing.pass_index = OBJECT_NUMBER
    thing.shadow_terminator_geometry_offset = thing.shadow_terminator_shading_offset = 0.0
    return _Thing(mesh, thing, texture)


def _in_cone(scene: Scene, spot: Spot, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels show a point inside the spot's cone."""
    size = len(depth)
    right, up, forward = camera_axes(scene.camera)
    slope = math.tan(scene.camera.field_of_view_rad / 2.0)
    place = slope * ((2.0 * np.arange(size) + 1.0) / size - 1.0)
    rays = forward + place[None, :, None] * right - place[:, None, None] * up
    reach = np.where(np.isfinite(depth), depth, 0.0)[..., None].astype(np.float64)
    beam = reach * rays + np.subtract(scene.camera.position, spot.position)
    axis = np.subtract(spot.target, spot.position)
    cosine = (beam @ axis) / (np.linalg.norm(beam, axis=2) * np.linalg.norm(axis))
    inside: NDArray[np.bool_] = cosine > math.cos(spot.cone_rad / 2.0)
    return inside


def _read_channels(images: Any, path: str) -> dict[str, NDArray[np.float32]]:
    """The channels of an EXR file by name, row 0 on top."""
    file = images.ImageInput.open(path)
    channels: dict[str, NDArray[np.float32]] = {}
    part = 0
    while file.seek_subimage(part, 0):
        names = file.spec().channelnames
        planes = file.read_image(part, 0, 0, len(names), "float")
        channels.update({name: planes[..., index] for index, name in enumerate(names)})
        part += 1
    file.close()
    return channels
