"""From a rendering to the arrays of its passes and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.mechanism import inverse
from datasets3d.views.parts import part_mask
from datasets3d.views.passes.camera import ViewCamera, camera_bytes
from datasets3d.views.passes.files import pass_bytes
from datasets3d.views.passes.kinds import PassName, camera_file, pass_file
from equivariant.errors import DataFormatError
from renderers import Renderer
from renderers.scene import Rendering, Scene

Arrays = dict[PassName, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class MovedParts:
    """Where the parts of an articulated object are in a view.

    Args:
        face_parts: Part of every face, shape (F,), int64.
        elements: That took each part from rest, in coordinates of the object, shape
            (parts, 4, 4), float64.
    """

    face_parts: NDArray[np.int64]
    elements: NDArray[np.float64]

    def back(self) -> NDArray[np.float64]:
        """Inverses of the elements, shape (parts, 4, 4)."""
        return inverse(self.elements)


def pass_arrays(
    names: Sequence[PassName], renderer: Renderer, scene: Scene, rendering: Rendering,
    parts: MovedParts | None = None,
) -> Arrays:  # fmt: skip
    """The arrays of some passes of a view.

    Args:
        names: Which.
        renderer: That made the rendering; asked again for "rgba".
        scene: What was rendered.
        rendering: All of it.
        parts: Of articulated objects.

    Returns:
        By name, each of shape (size, size) or (size, size, channels) and of the type that
        ``KINDS`` says.

    Raises:
        DataFormatError: The renderer names no faces, or the object has no parts, and they are
            asked for.
        RendererError: "rgba" is asked for, of a renderer that does not give it.
    """
    found: Arrays = {}
    for name in names:
        if name == "coordinates":
            found[name] = surface_points(scene, rendering, parts)
        elif name == "parts":
            found[name] = part_mask(rendering, _known(parts, "parts").face_parts)
        elif name == "faces":
            found[name] = _known(rendering.faces, "faces")
        elif name == "rgba":
            found[name] = renderer.render_rgba(scene, len(rendering.depth))
        elif name == "shadows":
            found[name] = light_bits(rendering)
        else:
            found[name] = getattr(rendering, name)
    return found


def light_bits(rendering: Rendering) -> NDArray[np.uint8]:
    """Which lights each pixel's center is hidden from: bit 0 the spot, bit k the k-th beside it.

    Args:
        rendering: With at most seven lights beside the spot.

    Returns:
        Shape (size, size), uint8.

    Raises:
        DataFormatError: There are more lights than bits.
    """
    masks = [rendering.shadow]
    masks += [] if rendering.light_shadows is None else list(rendering.light_shadows)
    if len(masks) > 8:
        raise DataFormatError(
            expected="at most 7 lights beside the spot, for the pass shadows",
            got=f"{len(masks) - 1}", argument="passes", advice="Leave shadows out.",
        )  # fmt: skip
    bits = np.zeros(rendering.shadow.shape, np.uint8)
    for k, mask in enumerate(masks):
        bits |= mask.astype(np.uint8) << np.uint8(k)
    return bits


def surface_points(
    scene: Scene, rendering: Rendering, parts: MovedParts | None = None
) -> NDArray[np.float32]:
    """The point of the surface that each pixel's center sees, in coordinates of the object.

    With the depth d of a pixel, the ray r of its center at depth 1 in camera coordinates, and the
    element e that took the part it sees from rest (the identity where the object is rigid):

        x = e⁻¹ M⁻¹ W⁻¹ (d r)

    Args:
        scene: What was rendered.
        rendering: Of it.
        parts: Of articulated objects; needs a rendering with faces.

    Returns:
        Shape (size, size, 3), float32; NaN where the object is not seen.

    Raises:
        DataFormatError: Parts are given and the rendering names no faces.
    """
    camera, mask = ViewCamera.of_scene(scene, len(rendering.depth)), rendering.mask
    found = np.full((*mask.shape, 3), np.nan, np.float32)
    points = camera.points(rendering.depth)[mask] - np.array(scene.translation)
    points = points @ scene.rotation / scene.scale
    if parts is not None:
        faces = _known(rendering.faces, "faces")[mask]
        back = parts.back()[parts.face_parts[faces]]
        points = np.einsum("nij,nj->ni", back[:, :3, :3], points) + back[:, :3, 3]
    found[mask] = points
    return found


def pass_files(
    view: int, names: Sequence[PassName], renderer: Renderer, scene: Scene, rendering: Rendering,
    parts: MovedParts | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """The files of some passes of a view and of its camera, by name.

    Args:
        view: Its index.
        names: Which passes.
        renderer: That made the rendering.
        scene: What was rendered.
        rendering: All of it.
        parts: Of articulated objects.
    """
    arrays = pass_arrays(names, renderer, scene, rendering, parts)
    files = {pass_file(name, view): pass_bytes(name, array) for name, array in arrays.items()}
    camera = ViewCamera.of_scene(scene, len(rendering.depth))
    return files | {camera_file(view): camera_bytes(camera)}


def _known(value: Any, what: str) -> Any:
    if value is None:
        raise DataFormatError(
            expected=f"a rendering that names {what}", got="none named", argument="passes",
            advice='Use the renderer "embree"; articulated objects alone have parts.',
        )  # fmt: skip
    return value
