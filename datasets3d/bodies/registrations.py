"""Reads users' own registered bodies: meshes of one topology in motion, as DFAUST's are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datasets3d.bodies.splits import Frame
from datasets3d.clouds.array_files import (
    array_names,
    array_shape,
    finite_points,
    load_array,
    load_npy,
    whole_labels,
)
from datasets3d.clouds.labelled_clouds import LabelledClouds, as_tensors, choose_points
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, DataFormatError

_CONVERT = (
    "Convert it once where h5py is installed: "
    "f = h5py.File(path); numpy.savez(out, **{k: f[k][()] for k in f})."
)


class Registrations:
    """Sequences of meshes with the same vertices, by name ``<subject>_<action>``.

    The file is an npz with an array [V, 3, T] per sequence, as DFAUST's ``registrations_*.hdf5``
    has under the same names, and ``faces``. Sequences are read when they are asked for.

    Args:
        path: The .npz file.
        vertex_parts: The part of every vertex, an .npy file or an array of whole numbers (V,);
            None where parts are not needed.

    Raises:
        DataFormatError: The file is missing, damaged, HDF5, or has another layout; names it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "registrations_m.npz"
        >>> np.savez(path, **{"50002_hips": np.zeros((6, 3, 9)), "faces": np.zeros((2, 3), int)})
        >>> bodies = Registrations(path, np.array([0, 0, 1, 1, 2, 2]))
        >>> bodies.subjects, {name: len(frames) for name, frames in bodies.frames.items()}
        (('50002',), {'50002_hips': 9})
        >>> bodies.clouds([("50002_hips", 4)], points=4).clouds.shape
        torch.Size([1, 4, 3])

    Source: Bogo et al. 2017, Dynamic FAUST.
    """

    def __init__(
        self, path: str | Path, vertex_parts: str | Path | NDArray[np.integer] | None = None
    ) -> None:
        self.path = Path(path)
        if self.path.suffix in (".hdf5", ".h5"):
            raise DataFormatError(
                expected="an .npz file", got="an HDF5 file", argument=str(path), advice=_CONVERT
            )
        shapes = {
            name: array_shape(self.path, name)
            for name in sorted(array_names(self.path))
            if name != "faces"
        }
        count = next(iter(shapes.values()))[0] if shapes and min(map(len, shapes.values())) else 0
        wrong = [
            name
            for name, shape in shapes.items()
            if len(shape) != 3 or shape[:2] != (count, 3) or "_" not in name
        ]
        if not shapes or wrong:
            raise DataFormatError(
                expected="arrays <subject>_<action> of shape (vertices, 3, frames)",
                got=f"{wrong[0]}: {shapes[wrong[0]]}" if wrong else "no array",
                argument=str(path), advice="Keep names and shapes as DFAUST has them.",
            )  # fmt: skip
        self.vertex_count = int(count)
        self.frames: dict[str, range] = {name: range(s[2]) for name, s in shapes.items()}
        self.parts = None if vertex_parts is None else self._parts(vertex_parts)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who moves, sorted."""
        return tuple(sorted({name.split("_", 1)[0] for name in self.frames}))

    @cached_property
    def actions(self) -> dict[str, str]:
        """What each sequence shows, for ``split_frames(bodies.frames, ..., actions=...)``."""
        return {name: name.split("_", 1)[1] for name in self.frames}

    def sequence(self, name: str) -> NDArray[np.float64]:
        """Vertices of one sequence, shape (frames, vertices, 3), in the unit of the file.

        Raises:
            DataFormatError: It is damaged or not finite; names the file.
            ConventionError: There is none of that name.
        """
        if name not in self.frames:
            raise ConventionError(
                expected=f"one of {', '.join(self.frames)}"[:200], got=repr(name),
                argument="name", advice="See bodies.frames.",
            )  # fmt: skip
        array = load_array(self.path, name)
        found = finite_points(array, (self.vertex_count, 3, None), self.path, name)
        return np.ascontiguousarray(found.transpose(2, 0, 1))

    def clouds(
        self, frames: Sequence[Frame], *, points: int = 2048, seed: int = 0
    ) -> LabelledClouds:
        """Some frames as clouds of vertices, with the part of every point; classes are subjects.

        Args:
            frames: (name of the sequence, frame), as :func:`split_frames` gives them; at least
                one.
            points: Vertices of each cloud, drawn by (seed, sequence, frame), at least 1.
            seed: At least 0.

        Returns:
            In the order of the frames; without parts of vertices, all points are of part 0.

        Raises:
            DataFormatError: A sequence is damaged.
            ConventionError: A frame is not there, or a number is out of its range.
        """
        absent = [(n, t) for n, t in frames if t not in self.frames.get(n, ())]
        if absent or not frames or points < 1 or seed < 0:
            raise ConventionError(
                expected="at least one frame, all there, points >= 1 and seed >= 0",
                got=f"{len(frames)} frames, not there: {absent[:3]}, points {points}, seed {seed}",
                argument="frames", advice="Take them from split_frames(bodies.frames, ...).",
            )  # fmt: skip
        by_name: dict[str, list[int]] = {}
        for row, (name, _) in enumerate(frames):
            by_name.setdefault(name, []).append(row)
        parts = np.zeros(self.vertex_count, np.int64) if self.parts is None else self.parts
        clouds: list[NDArray[np.float64]] = [np.zeros((0, 3))] * len(frames)
        owners: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(frames)
        for name, rows in by_name.items():
            sequence = self.sequence(name)
            for row in rows:
                t = frames[row][1]
                draws = generator(seed, f"points|{name}", t, points)
                chosen = choose_points(self.vertex_count, points, generator=draws)
                clouds[row], owners[row] = sequence[t, chosen], parts[chosen]
        stacked, labels = as_tensors(clouds, owners)
        rank = {subject: k for k, subject in enumerate(self.subjects)}
        who = torch.tensor([rank[name.split("_", 1)[0]] for name, _ in frames])
        names = tuple(f"{name}/{t}" for name, t in frames)
        return LabelledClouds(stacked, labels, who, names, self.subjects)

    def _parts(self, given: str | Path | NDArray[np.integer]) -> NDArray[np.int64]:
        path = Path(given) if isinstance(given, (str, Path)) else Path("vertex_parts")
        array = load_npy(path) if isinstance(given, (str, Path)) else given
        parts = whole_labels(array, (self.vertex_count,), path, "parts")
        if int(parts.min()) < 0:
            raise DataFormatError(
                expected="parts from 0", got=str(int(parts.min())), argument=str(path),
                advice="Number parts from 0.",
            )  # fmt: skip
        return parts
