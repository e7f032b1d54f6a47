"""Clouds of points on the surfaces of meshes."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.latents import generator
from datasets3d.views.splits import split_of
from equivariant.errors import ConventionError, DataFormatError
from renderers.rays.cutouts import holes_of, opened
from renderers.scene import Mesh

TRIES = 1_000  # times that places in holes are drawn anew
_SPLITS = ("train", "val", "all")


class PointClouds:
    """One split of the objects of a source, each as points drawn from its surface.

    Points are uniform by area, then centred and scaled:

        x_i ↦ (x_i - x̄) / max_j |x_j - x̄|

    The points of an object depend on (seed, class, object id, points) and its mesh alone: neither
    on other objects, nor on order, nor on the split that is asked for. Meshes are read when
    ``clouds`` is first used, which is then kept in memory.

    Args:
        source: Where meshes come from, for example ``MeshFolder(path)``.
        split: "train", "val", or "all". Folders ``<class>/train`` and ``<class>/test`` are
            "train" and "val".
        points: Points per object, at least 1.
        seed: Of the points, and of the split where the source states none; at least 0.
        val_fraction: Probability of "val" where the source states no split, in [0, 1].

    Attributes:
        entries: The objects, sorted by class and name.
        label_names: Names of all classes of the source, sorted, whatever the split.
        labels: Index into ``label_names`` of each object, shape (objects,), int64.

    Raises:
        ConventionError: An argument is out of its range.
        DataFormatError: The source is missing or empty, or the split has no object.

    Example:
        >>> from datasets3d import ProceduralMeshes
        >>> source = ProceduralMeshes(instances=4, classes=["chair", "truck"], val_fraction=0.25)
        >>> clouds = PointClouds(source, points=64)
        >>> clouds.clouds.shape, clouds.labels.tolist(), clouds.label_names
        (torch.Size([6, 64, 3]), [0, 0, 0, 1, 1, 1], ['chair', 'truck'])
    """

    def __init__(
        self,
        source: MeshSource,
        *,
        split: Literal["train", "val", "all"] = "train",
        points: int = 1024,
        seed: int = 0,
        val_fraction: float = 0.2,
    ) -> None:
        _check(split, points, seed, val_fraction)
        self.source, self.split, self.points, self.seed = source, split, points, seed
        every = source.entries()
        self.entries = [
            entry
            for entry in every
            if split == "all" or split_of(entry, val_fraction=val_fraction, seed=seed) == split
        ]
        if not self.entries:
            raise DataFormatError(
                expected=f"objects in the split {split!r}",
                got=f"none among {len(every)}",
                argument="source",
                advice="Lay files out as <class>/<train or test>/<file>, or change val_fraction.",
            )
        self.label_names = sorted({entry.label for entry in every})
        rank = {name: index for index, name in enumerate(self.label_names)}
        self.labels = torch.tensor([rank[entry.label] for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def clouds(self) -> Tensor:
        """All clouds, shape (objects, points, 3), float32: mean 0, largest radius 1.

        Raises:
            DataFormatError: A mesh cannot be read, has no area, or is nothing but holes. Names the
                file.
        """
        return torch.from_numpy(np.stack([self._cloud(entry) for entry in self.entries]))

    def _cloud(self, entry: MeshEntry) -> NDArray[np.float32]:
        mesh = self.source.load(entry)
        draws = generator(self.seed, f"points|{entry.label}/{entry.object_id}", self.points)
        try:
            faces, weights = mesh_places(mesh, self.points, generator=draws)
        except DataFormatError as error:
            raise DataFormatError(
                expected=error.expected, got=error.got,
                argument=entry.path or f"{entry.label}/{entry.object_id}", advice=error.advice,
            ) from None  # fmt: skip
        samples = points_at(mesh.vertices, mesh.faces[faces], weights)
        return to_unit_sphere(samples).astype(np.float32)


def sample_surface(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    count: int,
    *,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Independent points, uniform by area on the surface of a mesh.

    A triangle (a, b, c) is drawn with probability proportional to its area, and in it

        x = (1 - √u) a + √u (1 - v) b + √u v c,   u and v uniform in [0, 1)

    Args:
        vertices: Positions, shape (V, 3), float64, any unit.
        faces: Vertex indices, shape (F, 3), integers in [0, V).
        count: Points, at least 1.
        generator: Source of the draws: three uniform numbers per point.

    Returns:
        Shape (count, 3), float64, in the unit of the vertices.

    Raises:
        DataFormatError: The mesh has no area.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        >>> x = sample_surface(square, faces, 4000, generator=np.random.default_rng(0))
        >>> x.mean(0).round(1).tolist()
        [0.5, 0.5, 0.0]

    Source: Osada et al. 2002, Shape distributions.
    """
    return sample_faces(vertices, faces, count, generator=generator)[0]


def sample_faces(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    count: int,
    *,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The points of :func:`sample_surface`, and the face that each lies on.

    Args:
        vertices: Positions, shape (V, 3), float64, any unit.
        faces: Vertex indices, shape (F, 3), integers in [0, V).
        count: Points, at least 1.
        generator: Source of the draws: three uniform numbers per point.

    Returns:
        Points (count, 3), float64, and indices of faces (count,), int64.

    Raises:
        DataFormatError: The mesh has no area.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        >>> x, face = sample_faces(square, faces, 50, generator=np.random.default_rng(0))
        >>> bool(((x[:, 1] > x[:, 0]) == (face == 1)).all())
        True
    """
    chosen, weights = draw_places(vertices, faces, count, generator=generator)
    return points_at(vertices, faces[chosen], weights), chosen


def points_at(
    vertices: NDArray[np.float64], corners: NDArray[np.int32], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """w_0 a + w_1 b + w_2 c for triangles (a, b, c) of vertices.

    Args:
        vertices: Shape (V, 3).
        corners: Indices of a, b and c for each point, shape (N, 3).
        weights: Shape (N, 3).

    Returns:
        Shape (N, 3), float64.
    """
    a, b, c = (vertices[corners[:, k]] for k in range(3))
    points: NDArray[np.float64] = weights[:, 0:1] * a + weights[:, 1:2] * b + weights[:, 2:3] * c
    return points


def draw_places(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    count: int,
    *,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The points of :func:`sample_faces` as faces and barycentric weights of their corners.

    Args:
        vertices: Positions, shape (V, 3), float64, any unit.
        faces: Vertex indices, shape (F, 3), integers in [0, V).
        count: Points, at least 1.
        generator: Source of the draws: three uniform numbers per point.

    Returns:
        Indices of faces (count,), int64, and weights (count, 3), float64, of sum 1.

    Raises:
        DataFormatError: The mesh has no area.

    Example:
        >>> triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> face, weights = draw_places(triangle, np.array([[0, 1, 2]], np.int32), 5,
        ...     generator=np.random.default_rng(0))
        >>> face.tolist(), bool(np.allclose(weights.sum(1), 1.0))
        ([0, 0, 0, 0, 0], True)
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    ends = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    if not len(ends) or not ends[-1] > 0.0:
        raise DataFormatError(
            expected="a mesh with area",
            got=f"{len(faces)} faces of no area",
            argument="faces",
            advice="Repair the mesh or leave it out.",
        )
    draws = generator.random((count, 3))
    # a face of no area ends where the one before it ends, and is never the first to exceed
    chosen = np.searchsorted(ends, draws[:, 0] * ends[-1], side="right")
    chosen = np.minimum(chosen, np.searchsorted(ends, ends[-1]))
    root, share = np.sqrt(draws[:, 1:2]), draws[:, 2:3]
    weights = np.concatenate([1.0 - root, root * (1.0 - share), root * share], axis=1)
    return chosen.astype(np.int64), weights


def mesh_places(
    mesh: Mesh, count: int, *, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Independent places, uniform by area on a mesh without what its texture cuts away.

    Args:
        mesh: With or without holes (``Mesh.texture_cutout``).
        count: Places, at least 1.
        generator: Source of the draws: three uniform numbers per place, and for ones that fall
            into a hole again as many.

    Returns:
        Indices of faces (count,), int64, and weights (count, 3), float64, of sum 1.

    Raises:
        DataFormatError: The mesh has no area, or nothing but holes as far as can be seen.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        >>> left = Mesh(square, faces, np.zeros((2, 3, 3), np.float32),
        ...             texture=np.zeros((1, 2, 3), np.uint8),
        ...             corner_uv=square[faces][..., :2].astype(np.float32) / 2 + 0.25,
        ...             texture_cutout=np.array([[255, 0]], np.uint8))
        >>> face, weights = mesh_places(left, 100, generator=np.random.default_rng(0))
        >>> bool(((weights[..., None] * square[faces[face]]).sum(1)[:, 0] <= 0.5).all())
        True
    """
    faces, weights = draw_places(mesh.vertices, mesh.faces, count, generator=generator)
    holes = holes_of(mesh)
    if holes is None:
        return faces, weights
    left = np.arange(count)
    for _ in range(TRIES):
        left = left[opened(holes, faces[left], weights[left])]
        if not left.size:
            return faces, weights
        again = draw_places(mesh.vertices, mesh.faces, left.size, generator=generator)
        faces[left], weights[left] = again
    raise DataFormatError(
        expected="a surface that is there",
        got=f"holes at {left.size} of {count} places, {TRIES} times",
        argument="texture_cutout",
        advice="Leave the mesh out: nothing of it can be seen.",
    )


def to_unit_sphere(cloud: NDArray[np.float64]) -> NDArray[np.float64]:
    """A cloud with its mean at the origin and its farthest point at distance 1.

    Args:
        cloud: Shape (points, 3), at least one point. Points that all coincide go to the origin.

    Returns:
        Shape (points, 3), float64.

    Example:
        >>> to_unit_sphere(np.array([[1.0, 1, 1], [5, 1, 1]])).tolist()
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    centered = cloud - cloud.mean(0)
    radius = float(np.linalg.norm(centered, axis=1).max())
    scaled: NDArray[np.float64] = centered / (radius or 1.0)
    return scaled


def _check(split: str, points: int, seed: int, val_fraction: float) -> None:
    for name, value, fits, expected in (
        ("split", split, split in _SPLITS, "train, val or all"),
        ("points", points, points >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "at least 0"),
        ("val_fraction", val_fraction, 0.0 <= val_fraction <= 1.0, "a number in [0, 1]"),
    ):
        if not fits:
            raise ConventionError(
                expected=expected,
                got=repr(value),
                argument=name,
                advice="See the documentation of PointClouds.",
            )
