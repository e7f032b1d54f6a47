"""A suite of the same objects: training law, rotations it never shows, motions, sequences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from datasets3d.meshes.source import MeshSource
from datasets3d.views.build import BuildReport, build
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import Limits
from datasets3d.views.estimate import BuildEstimate, estimate
from datasets3d.views.factors.paths import ObjectPath
from datasets3d.views.factors.placement import ObjectTranslation
from datasets3d.views.latents import ViewLaw
from datasets3d.views.schema import Manifest
from equivariant.errors import ConventionError
from equivariant.runs import write_json

SUITE = "suite.json"


def suite_laws(*, length: int = 10, angle_rad: float = math.pi / 2) -> dict[str, ViewLaw]:
    """The laws of a suite, by the names of its folders.

    "box": 3DIEBench's, to train on. "shell": the rotations that box never shows, all else as in
    box. "translation": box, the object's place drawn as in 3DIEBench-T. "sequences": the same,
    the object moving through sequences of views whose steps are recorded.

    Args:
        length: Views of a sequence, at least 2.
        angle_rad: Half the side of box, which shell leaves out, in (0, π).

    Returns:
        Four laws.

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> sorted(suite_laws())
        ['box', 'sequences', 'shell', 'translation']
    """
    box = ViewLaw(angle_max_rad=angle_rad)
    moved = replace(box, factors=(ObjectTranslation(),))
    return {
        "box": box,
        "shell": ViewLaw("shell", math.pi, angle_min_rad=angle_rad),
        "translation": moved,
        "sequences": replace(moved, path=ObjectPath(length)),
    }


def build_suite(
    source: MeshSource,
    out: Path | str,
    *,
    config: BuildConfig | None = None,
    laws: dict[str, ViewLaw] | None = None,
    workers: int | None = None,
    limits: Limits | None = None,
    progress: bool = True,
) -> dict[str, BuildReport]:
    """Build one set for each law, from the same objects with the same splits.

        OUT/box, OUT/shell, OUT/translation, OUT/sequences, OUT/suite.json

    Every set is one of :func:`~datasets3d.build`: a killed call goes on when it is called again,
    and sets that are whole stay. Splits depend on objects and seed alone, so what one set holds
    out the others hold out too, unless a law's views do not show an object, which is then set aside
    in that set. Each has its fixed pairs, ``val_pairs.npy``. ``suite.json`` is written last and
    holds the checksum of each set's manifest.

    Args:
        source: Objects.
        out: Folder; made if missing.
        config: Everything but the law.
        laws: By the names of their folders; None takes :func:`suite_laws`.
        workers: Processes; None takes every core.
        limits: Time and memory that each object may take.
        progress: Show a bar for each set.

    Returns:
        The report of each set.

    Raises:
        ConventionError: ``config`` has a law of its own, or a set's folder holds another build.
        EquivariantError: Whatever a build raises.

    Example:
        >>> import tempfile
        >>> from datasets3d import ProceduralMeshes
        >>> source, root = ProceduralMeshes(instances=1, classes=["chair"]), tempfile.mkdtemp()
        >>> config = BuildConfig(views=2, size_px=8)
        >>> found = build_suite(source, root, config=config, workers=1, progress=False)
        >>> [report.images for report in found.values()]
        [2, 2, 2, 2]
    """
    root, reports = Path(out), {}
    for name, own in _configs(config, laws):
        reports[name] = build(
            source, root / name, config=own, workers=workers, limits=limits, progress=progress
        )
    sums = {name: Manifest.read(root / name).checksum for name in reports}
    write_json(root / SUITE, {"format_version": 1, "sets": sums})
    return reports


def estimate_suite(
    source: MeshSource,
    out: Path | str,
    *,
    config: BuildConfig | None = None,
    laws: dict[str, ViewLaw] | None = None,
    workers: int | None = None,
) -> dict[str, BuildEstimate]:
    """What a suite would take, set by set; writes nothing.

    Args:
        source: As for :func:`build_suite`.
        out: The same.
        config: The same.
        laws: The same.
        workers: The same.

    Raises:
        ConventionError: ``config`` has a law of its own, or a set's folder holds another build.
    """
    return {
        name: estimate(source, config=own, workers=workers, out=Path(out) / name)
        for name, own in _configs(config, laws)
    }


def _configs(
    config: BuildConfig | None, laws: dict[str, ViewLaw] | None
) -> Iterator[tuple[str, BuildConfig]]:
    """Name and settings of each set."""
    config = config or BuildConfig()
    if config.law != ViewLaw():
        raise ConventionError(
            expected="settings with the default law", got="another", argument="config.law",
            advice="Pass the laws of the sets as laws={name: law}.",
        )  # fmt: skip
    for name, law in (laws or suite_laws()).items():
        yield name, replace(config, law=law)
