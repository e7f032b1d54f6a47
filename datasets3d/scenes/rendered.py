"""Views of scenes: every object in a pose of its own, what each pixel sees of which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.source import MeshEntry
from datasets3d.scenes.record import poses_of
from datasets3d.scenes.scene_meshes import SceneMeshes, SceneOfObjects
from datasets3d.views.config import BuildConfig
from datasets3d.views.factors.angles import rotation_matrix
from datasets3d.views.parts import part_mask
from datasets3d.views.passes.arrays import MovedParts, pass_files
from datasets3d.views.passes.files import pass_bytes
from datasets3d.views.passes.kinds import pass_file
from datasets3d.views.plan import key_of
from datasets3d.views.storage import RenderedView
from datasets3d.views.view_checks import check_view
from renderers import Renderer, Scene

OF_SCENES = ("instances", "silhouettes")


@dataclass(frozen=True, eq=False)
class MovedObjects(MovedParts):
    """Objects of a scene as parts that were moved, and scaled."""

    def back(self) -> NDArray[np.float64]:
        """Inverses of the similarities."""
        return np.linalg.inv(self.elements).astype(np.float64)


def latent_of_scene(
    source: SceneMeshes, entry: MeshEntry, config: BuildConfig, view: int,
    latent: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """The latent of a view of a scene: three zeros, the other numbers of the law, and the seven
    of every object.

    Args:
        source: Where the scene comes from.
        entry: Which scene.
        config: Whose law draws the rotation of each object, by draws of its own.
        view: Index of the view.
        latent: What the law drew for the view, shape (columns,).

    Returns:
        Shape (columns + 7 objects,), float64.
    """
    angles = np.stack([
        config.law.sample(config.seed, f"{key_of(entry)}|object {k + 1}", view=view)[:3]
        for k in range(source.objects)
    ])  # fmt: skip
    placed = source.places(entry, view, rotation_matrix(angles))
    rows = np.hstack([angles, placed])
    return np.concatenate([np.zeros(3), latent[3:], rows.ravel()])


def scene_of(
    source: SceneMeshes, made: SceneOfObjects, config: BuildConfig, latent: NDArray[np.float64]
) -> tuple[Scene, NDArray[np.float64]]:
    """What a view of a scene shows, and the poses of its objects.

    Args:
        source: Where the scene comes from.
        made: The scene.
        config: Whose law has camera, floor and light.
        latent: Shape (columns of the law + 7 objects,).

    Returns:
        The scene, whose one mesh are all objects, and poses (objects, 4, 4).
    """
    own = len(config.law.columns())
    poses = poses_of(latent[own:])
    scene = config.law.scene(made.posed(poses), latent[:own])
    if source.arrangement.placement == "floor" and scene.floor is not None:
        scene = replace(scene, floor=replace(scene.floor, height=source.arrangement.height))
    return scene, poses


def silhouettes(
    renderer: Renderer, scene: Scene, made: SceneOfObjects, size_px: int
) -> NDArray[np.uint8]:
    """What every object of a scene would cover without the others.

    Args:
        renderer: Any.
        scene: With all of them.
        made: The objects.
        size_px: Side of the picture.

    Returns:
        Bit k, of value 2ᵏ, is that of object k + 1, shape (size, size), uint8.
    """
    bits = np.zeros((size_px, size_px), np.uint8)
    for k in range(len(made.keys)):
        alone = replace(scene, mesh=made.alone(scene.mesh, k))
        mask = renderer.render_rgb_and_mask(alone, size_px)[1]
        bits |= mask.astype(np.uint8) << np.uint8(k)
    return bits


def view_of_scene(
    renderer: Renderer, source: SceneMeshes, entry: MeshEntry, config: BuildConfig, view: int,
    latent: NDArray[np.float64], plain: Callable[[], Renderer],
) -> RenderedView:  # fmt: skip
    """A view of several objects, each in a pose of its own.

    Args:
        renderer: Names faces.
        source: Where the scene comes from.
        entry: Which scene.
        config: What and how.
        view: Index of the view.
        latent: What the law drew.
        plain: A renderer of the same kind, for silhouettes, without samples between pixels.

    Raises:
        ConventionError: There is no room for the objects.
        DataFormatError: No object is seen.
    """
    made = source.scene(entry)
    latent = latent_of_scene(source, entry, config, view, latent)
    scene, poses = scene_of(source, made, config, latent)
    size = config.size_px
    rendering = renderer.render(scene, size)
    cut = check_view(rendering.rgb, latent, rendering.mask, view=view, size_px=size)
    further = {}
    if config.passes:
        names = tuple(name for name in config.passes if name not in OF_SCENES)
        objects = MovedObjects(made.face_objects, poses)
        further = pass_files(view, names, renderer, scene, rendering, objects)
    if "silhouettes" in config.passes:
        bits = silhouettes(plain(), scene, made, size)
        further[pass_file("silhouettes", view)] = pass_bytes("silhouettes", bits)
    instances = part_mask(rendering, made.face_objects)
    further[pass_file("instances", view)] = pass_bytes("instances", instances)
    return RenderedView(rendering.rgb, latent, cut=cut, further=further)
