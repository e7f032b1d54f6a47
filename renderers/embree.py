"""The default renderer: Embree traces, Numba shades; installed by pip alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.base import Renderer
from renderers.color import ENCODING_STEPS, encoding_table
from renderers.errors import RendererError, RendererUnavailableError
from renderers.rays.cutouts import Tracer
from renderers.rays.hierarchy import Hierarchy
from renderers.rays.kernels import (
    HIDDEN,
    OBJECT,
    Grid,
    Hits,
    Samples,
    View,
    aim,
    centers,
    refined,
)
from renderers.rays.lights import add_lights, edges_of_all, shaded, views_of_lights
from renderers.rays.looks import Surface, surface_of
from renderers.rays.memory import Memories, Memory, Room
from renderers.rays.object_frame import view_of
from renderers.rays.shading import average, develop, glow, paint
from renderers.scene import Mesh, Rendering, Scene
from renderers.validation import check_size

BATCH_SAMPLES = 65536


class _Prepared(NamedTuple):
    """What is kept of a mesh: its hierarchy and its looks, about the bounding sphere's center."""

    mesh: Mesh
    tracer: Tracer
    surface: Surface
    center: NDArray[np.float64]
    radius: float


class _Eye(NamedTuple):
    """A prepared mesh and a view of it; the same view under each further light."""

    prepared: _Prepared
    view: View
    others: tuple[View, ...]

    def see(self, grid: Grid, room: Room) -> tuple[Samples, Hits]:
        """Trace samples: primary rays, then shadow rays; returns what the first hit, too."""
        view, surface, tracer = self.view, self.prepared.surface, self.prepared.tracer
        samples, primary, shadow, found, _ = room
        count = aim(view, grid, primary)
        hit = tracer.first(primary.origins[:count], primary.directions[:count], room=found)
        numbers = primary.sample[:count]
        hits = Hits(numbers, hit["primID"], hit["tfar"], hit["u"], hit["v"], hit["Ng"])
        shaded(view, tracer, surface.normals, hits, grid, samples, shadow)
        paint(surface, view, hits, grid, samples)
        samples = add_lights(self.others, tracer, surface.normals, hits, grid, samples, shadow)
        return samples, hits


class EmbreeRenderer(Renderer):
    """Ray casting on the CPU with an exact hard shadow; no noise, no indirect light.

    The hierarchy over the triangles is built once per mesh and never moved: camera, floor and light
    are taken into the object's frame instead. The floor is a formula. Only rays
    that meet the object's bounding sphere reach Embree. A first pass takes one sample at each
    pixel's center; pixels that differ from one of their four neighbors in what they see
    (object, floor, nothing), in being lit or hidden, or in color, are then sampled
    ``samples_per_side``² times on a regular grid, averaged in linear light. Something thinner
    than a pixel that no center meets is therefore not refined; ``adaptive=False`` refines all.

    The light at a point with albedo a, normal n and unit directions l to the spots is

        a * (ambient(n) + Σ visible * energy * (4 / distance)² * cone(l) * max(n · l, 0) * color)

    in linear light, clipped at 1 and encoded as sRGB. Surfaces are two-sided: normals are turned
    to the side that the camera sees. Shadow rays start off the surface by a thousandth of the
    bounding sphere's radius. Textures are averaged over what a sample
    sees of them (:mod:`renderers.rays.textures`); magnified ones are sampled bilinearly. Where a
    texture cuts holes (``Mesh.texture_cutout``), every ray goes on through them
    (:mod:`renderers.rays.cutouts`).

    Args:
        samples_per_side: Samples per refined pixel and direction, at least 1; 1 switches
            anti-aliasing off, 2 is faster, 4 finer.
        adaptive: Refine only pixels at edges; False refines every pixel.
        edge_threshold: Difference in sRGB levels, in [0, 255], from which on neighbors count as
            different.

    Raises:
        RendererError: A setting is out of its range.
        RendererUnavailableError: The installed Embree answers a known question wrongly.

    Example:
        >>> import numpy as np
        >>> triangle = Mesh(
        ...     vertices=np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]]),
        ...     faces=np.array([[0, 1, 2]], dtype=np.int32),
        ...     corner_normals=np.tile(np.float32([0, 0, 1]), (1, 3, 1)),
        ...     face_colors=np.array([[200, 200, 200]], dtype=np.uint8),
        ... )
        >>> image = EmbreeRenderer().render(Scene(triangle), 32)
        >>> image.rgb.shape, bool(image.mask[16, 16])
        ((32, 32, 3), True)
    """

    name: ClassVar[str] = "embree"
    names_faces: ClassVar[bool] = True
    gives_alpha: ClassVar[bool] = True
    several_lights: ClassVar[bool] = True

    def __init__(
        self, samples_per_side: int = 3, *, adaptive: bool = True, edge_threshold: int = 8
    ) -> None:
        if samples_per_side < 1:
            raise RendererError(
                expected="at least 1",
                got=str(samples_per_side),
                argument="samples_per_side",
                advice="Use 1 for no anti-aliasing.",
            )
        if not 0 <= edge_threshold <= 255:
            raise RendererError(
                expected="a number of sRGB levels in [0, 255]",
                got=str(edge_threshold),
                argument="edge_threshold",
                advice="The default of 8 is a good start.",
            )
        self.samples_per_side = samples_per_side
        self.adaptive = adaptive
        self.edge_threshold = edge_threshold
        self._encode = encoding_table()
        self._prepared: _Prepared | None = None
        self._memories = Memories()
        _check_embree()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as settings, without the hierarchy."""
        return _rebuild, (self.samples_per_side, self.adaptive, self.edge_threshold)

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
        with self._memories.borrowed() as memories:
            image, _, _ = self._picture(scene, size_px, memories)
        return image

    def render_rgb_and_mask(
        self, scene: Scene, size_px: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The picture of :meth:`render_rgb`, and where the object is, in the same time."""
        with self._memories.borrowed() as memories:
            image, first, _ = self._picture(scene, size_px, memories)
            return image, (first.kind == OBJECT).reshape(size_px, size_px)

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
        square = (size_px, size_px)
        with self._memories.borrowed() as memories:
            image, first, hits = self._picture(scene, size_px, memories, passes=True)
            world = first.normal @ scene.rotation.T.astype(np.float32)
            return Rendering(
                rgb=image,
                depth=(np.float32(scene.scale) * first.depth).reshape(square),
                normals=world.reshape(*square, 3),
                mask=(first.kind == OBJECT).reshape(square),
                shadow=(first.state >= HIDDEN).reshape(square),
                faces=_faces(first, hits).reshape(square),
                light_shadows=(first.states >= HIDDEN).reshape(-1, *square)
                if scene.lights
                else None,
            )

    def render_rgba(self, scene: Scene, size_px: int) -> NDArray[np.uint8]:
        """The object alone, with the samples of :meth:`render_rgb`.

        Args:
            scene: What to show; its floor is left out.
            size_px: Side of the image, at least 1.

        Returns:
            sRGB and alpha, not multiplied, shape (size, size, 4), uint8; zero where alpha is.

        Raises:
            RendererError: The size is not positive.
        """
        check_size(size_px)
        pixels = np.arange(size_px * size_px)
        image = np.empty((pixels.size, 3), np.uint8)
        shares = np.ones(pixels.size)
        with self._memories.borrowed() as (memory, finer):
            eye = self._eye(replace(scene, floor=None))
            grid = centers(size_px)
            room = memory.of(grid.x.size)
            first, _ = eye.see(grid, room)
            develop(eye.view, first, self._encode, image, room.marks)
            sums = _on_object(first, glow(eye.view, first, pixels), pixels.size)
            for batch in self._refined(room.marks, first, size_px):
                grid = refined(batch, self.samples_per_side, size_px)
                samples, _ = eye.see(grid, finer.of(grid.x.size))
                sums[batch] *= self.samples_per_side % 2  # of an odd grid the middle is there
                sums[batch] += _on_object(samples, glow(eye.view, samples, grid.order), batch.size)
                shares[batch] = self.samples_per_side**2
        mean = np.minimum(sums[:, :3] / np.maximum(sums[:, 3:], 1.0), 1.0)
        colors = self._encode[(mean * ENCODING_STEPS + 0.5).astype(np.int64)]
        alpha = np.rint(255.0 * sums[:, 3:] / shares[:, None]).astype(np.uint8)
        return np.hstack([colors * (alpha > 0), alpha]).reshape(size_px, size_px, 4)

    def _picture(
        self, scene: Scene, size_px: int, memories: tuple[Memory, Memory], *, passes: bool = False
    ) -> tuple[NDArray[np.uint8], Samples, Hits]:
        """The picture, and what the pixels' centers see."""
        check_size(size_px)
        eye, grid = self._eye(scene), centers(size_px)
        image = np.empty((size_px * size_px, 3), np.uint8)
        room = memories[0].of(grid.x.size, passes=passes)
        first, hits = eye.see(grid, room)
        develop(eye.view, first, self._encode, image, room.marks)
        for batch in self._refined(room.marks, first, size_px):
            grid = refined(batch, self.samples_per_side, size_px)
            samples, _ = eye.see(grid, memories[1].of(grid.x.size))
            average(eye.view, samples, first, batch, self._encode, image)
        return image.reshape(size_px, size_px, 3), first, hits

    def _refined(
        self, marks: NDArray[np.int32], first: Samples, size_px: int
    ) -> list[NDArray[np.int64]]:
        """The pixels that take more samples, in batches."""
        if self.samples_per_side == 1:
            return []
        pixels = centers(size_px).order
        if self.adaptive:
            pixels = edges_of_all(marks, first, pixels, self.edge_threshold)
        step = max(BATCH_SAMPLES // self.samples_per_side**2, 1)
        return [pixels[start : start + step] for start in range(0, pixels.size, step)]

    def _eye(self, scene: Scene) -> _Eye:
        prepared = self._prepare(scene.mesh)
        center, radius = prepared.center, prepared.radius
        others = views_of_lights(scene, center, radius)
        return _Eye(prepared, view_of(scene, center, radius), others)

    def _prepare(self, mesh: Mesh) -> _Prepared:
        prepared = self._prepared
        if prepared is None or prepared.mesh is not mesh:
            prepared = self._prepared = _prepare(mesh)
        return prepared


def _rebuild(samples_per_side: int, adaptive: bool, edge_threshold: int) -> EmbreeRenderer:
    return EmbreeRenderer(samples_per_side, adaptive=adaptive, edge_threshold=edge_threshold)


def _check_embree() -> None:
    """Ask for a ray that hits and one that misses: another Embree may lay out packets otherwise.

    The triangle is met at distance 1 and weights (1/4, 1/4, 1/2); its normal is the product of two
    of its sides, (0, 0, 4).
    """
    triangle = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]], np.float32)
    tracer = Hierarchy(triangle, np.array([[0, 1, 2]], np.int32))
    origins = np.array([[0, 0, 1], [5, 0, 1]], np.float32)
    down = np.array([[0, 0, -1], [0, 0, -1]], np.float32)
    found = tracer.first(origins, down)
    got = {
        "faces": found["primID"].tolist(),
        "hit": [float(found[name][0]) for name in ("tfar", "u", "v")] + found["Ng"][0].tolist(),
        "hidden": tracer.hidden(origins, down, np.full(1, 2.0, np.float32)).tolist(),
        "beyond reach": tracer.hidden(origins, down, np.full(1, 0.5, np.float32)).tolist(),
    }
    expected = {
        "faces": [0, -1], "hit": [1.0, 0.25, 0.5, 0.0, 0.0, 4.0],
        "hidden": [0, -1], "beyond reach": [-1, -1],
    }  # fmt: skip
    if got != expected:
        raise RendererUnavailableError(
            expected=f"an Embree that answers {expected}",
            got=str(got),
            argument="embreex",
            advice="Install embreex 4.4.0.post1, the version that was tested.",
        )


def _prepare(mesh: Mesh) -> _Prepared:
    """Build the hierarchy and clean the looks of a mesh."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    center = low + 0.5 * (high - low)
    centered = mesh.vertices - center
    radius = float(np.sqrt((centered**2).sum(1).max())) * (1.0 + 1e-6)
    return _Prepared(mesh, Tracer.of(mesh, centered), surface_of(mesh, centered), center, radius)


def _faces(samples: Samples, hits: Hits) -> NDArray[np.int32]:
    """The face that each sample sees; -1 where it sees the floor or nothing."""
    faces = np.full(samples.kind.size, -1, np.int32)
    faces[hits.sample] = hits.face
    faces[samples.kind != OBJECT] = -1
    return faces


def _on_object(samples: Samples, light: NDArray[np.float32], pixels: int) -> NDArray[np.float64]:
    """Light of the samples that meet the object, and their number, shape (pixels, 4)."""
    seen = (samples.kind == OBJECT)[:, None]
    sums: NDArray[np.float64] = (
        (np.hstack([light, seen]) * seen).reshape(pixels, -1, 4).sum(1, dtype=np.float64)
    )
    return sums
