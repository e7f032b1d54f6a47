"""Reads users' own scans of moved bodies: DynLab's files, and sets in MultiBodySync's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datasets3d.clouds.array_files import finite_points, load_array, whole_labels
from datasets3d.clouds.labelled_clouds import LabelledClouds, as_tensors, choose_points, from_zero
from datasets3d.clouds.point_ply import read_point_ply
from datasets3d.views.latents import generator
from equivariant.errors import DataFormatError
from equivariant.runs import read_json


def read_dynlab(
    folder: str | Path, *, points: int = 2048, label: str = "idx", seed: int = 0
) -> LabelledClouds:
    """Read scans of scenes in several configurations, as DynLab's raw files are laid out.

    ``<scene>-<configuration>.ply`` has x, y, z and a label per point. Labels of a scene are
    renumbered from 0, in the same way in all its configurations. The ``.pose`` files beside them
    are not read.

    Args:
        folder: Where the files are.
        points: Points drawn from each scan, with a return where it has fewer; at least 1.
        label: Name of the column of labels.
        seed: Of the draws, at least 0.

    Returns:
        Clouds in the unit of the files, sorted by scene, then configuration; classes are the
        scenes.

    Raises:
        DataFormatError: There is no such file, or one is damaged or lacks a column; names it.
        ConventionError: A number is out of its range.

    Source: Huang et al. 2021, MultiBodySync.
    """
    root = Path(folder)
    scans: dict[str, list[tuple[str, NDArray[np.float64], NDArray[np.int64]]]] = {}
    for path in sorted(root.glob("*-*.ply")):
        columns = read_point_ply(path)
        lacking = [name for name in ("x", "y", "z", label) if name not in columns]
        if lacking:
            raise DataFormatError(
                expected=f"columns x, y, z and {label}", got=f"only {', '.join(columns)}",
                argument=str(path), advice="Say label= where labels have another name.",
            )  # fmt: skip
        x = np.stack([columns[name] for name in "xyz"], 1)
        x = finite_points(x, (None, 3), path, "x, y, z")
        part = whole_labels(columns[label], (len(x),), path, label)
        draws = generator(seed, f"points|{path.stem}", points)
        chosen = choose_points(len(x), points, generator=draws)
        scene = scans.setdefault(path.stem.rpartition("-")[0], [])
        scene.append((path.stem, x[chosen], part[chosen]))
    if not scans:
        raise _nothing(root, "<scene>-<configuration>.ply")
    return _joined(scans)


def read_multibody(
    folder: str | Path, split: str = "test", *, points: int | None = None, seed: int = 0
) -> LabelledClouds:
    """Read a set in MultiBodySync's layout: several scans of each of many scenes.

    ``meta.json`` has the numbers of the scenes of every split; ``data/000000.npz`` has ``pc``,
    points of K scans, (K, N, 3), and ``segm``, a label per point, (K, N). The motions in those
    files are pickled, and what needs pickle is not read.

    Args:
        folder: Where ``meta.json`` is.
        split: Name of a split there.
        points: Points drawn from each scan; None takes all, which then have to be equally many.
        seed: Of the draws, at least 0.

    Returns:
        Clouds in the unit of the files, scans of one scene after one another; labels of points
        are renumbered from 0 within each scene, and classes are the scenes.

    Raises:
        DataFormatError: A file is missing or damaged, or has another layout; names it.
        ConventionError: A number is out of its range.

    Source: Huang et al. 2021, MultiBodySync.
    """
    root = Path(folder)
    meta = read_json(root / "meta.json")
    numbers = meta.get(split) if isinstance(meta, dict) else None
    if not isinstance(numbers, list) or not all(type(k) is int and k >= 0 for k in numbers):
        raise DataFormatError(
            expected=f"a list of numbers of scenes under {split!r}",
            got=json.dumps(meta)[:80], argument=str(root / "meta.json"),
            advice="Name one of the splits that are there.",
        )  # fmt: skip
    scans: dict[str, list[tuple[str, NDArray[np.float64], NDArray[np.int64]]]] = {}
    for number in numbers:
        path = root / "data" / f"{number:06d}.npz"
        x = finite_points(load_array(path, "pc"), (None, None, 3), path, "pc")
        part = whole_labels(load_array(path, "segm"), x.shape[:2], path, "segm")
        for k in range(len(x)):
            rows = np.arange(x.shape[1])
            if points is not None:
                draws = generator(seed, f"points|{path.stem}-{k}", points)
                rows = choose_points(x.shape[1], points, generator=draws)
            scan = (f"{path.stem}-{k}", x[k, rows], part[k, rows])
            scans.setdefault(path.stem, []).append(scan)
    if not scans:
        raise _nothing(root, f"scenes in the split {split!r}")
    return _joined(scans)


def _joined(
    scans: dict[str, list[tuple[str, NDArray[np.float64], NDArray[np.int64]]]],
) -> LabelledClouds:
    """All scans in their order; labels are renumbered within each scene."""
    names, clouds, parts, scenes = [], [], [], []
    for scene, found in enumerate(scans.values()):
        sizes = [len(part) for _, _, part in found]
        ranks = np.split(from_zero(np.concatenate([p for _, _, p in found])), np.cumsum(sizes)[:-1])
        for (name, x, _), rank in zip(found, ranks, strict=True):
            names.append(name)
            clouds.append(x)
            parts.append(rank)
            scenes.append(scene)
    if len({len(x) for x in clouds}) > 1:
        raise DataFormatError(
            expected="equally many points in every scan",
            got=f"{min(map(len, clouds))} to {max(map(len, clouds))}", argument="points",
            advice="Say points= to draw that many from each.",
        )  # fmt: skip
    stacked, labels = as_tensors(clouds, parts)
    return LabelledClouds(stacked, labels, torch.tensor(scenes), tuple(names), tuple(scans))


def _nothing(root: Path, expected: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got="none", argument=str(root),
        advice="See the layout in the documentation.",
    )  # fmt: skip
