"""The plan of a build: its objects, and the settings that must agree for it to go on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from datasets3d.meshes.articulated import ArticulatedMeshes
from datasets3d.meshes.folders.names import is_safe
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.scenes.scene_meshes import SceneMeshes
from datasets3d.views.config import BuildConfig
from datasets3d.views.factors.base import Factor
from datasets3d.views.factors.record import own_classes, recorded_factors
from datasets3d.views.latents import ViewLaw, nothing
from datasets3d.views.passes.kinds import versions_of_passes
from datasets3d.views.schema import COLUMNS, FORMAT_VERSION, PLAN
from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import read_json, write_json
from renderers.base import PIXELS

_OF_LISTS = ("instances", "classes", "objects", "listing_sha256", "count", "names")
_PIXEL_PACKAGES = ("embreex", "numba", "numpy", "pillow", "pyrender2", "scipy", "simplejpeg")


def key_of(entry: MeshEntry) -> str:
    """Name of an object in its data set, ``<class>/<object id>``; its folder, too."""
    return f"{entry.label}/{entry.object_id}"


def objects_of(source: MeshSource, config: BuildConfig) -> list[MeshEntry]:
    """All objects of a build, before anything is written.

    Raises:
        DataFormatError: The source has no object, or names that are unfit for folders.
        ConventionError: The law draws another number of columns than there are.
    """
    entries = source.entries()
    _check_names(entries)
    _check_law(config)
    _check_joints(source, config)
    return entries


def check_shard(shard: int, num_shards: int) -> None:
    """Refuse a share that is none.

    Raises:
        ConventionError: Not 0 <= shard < num_shards.
    """
    if not 0 <= shard < num_shards:
        raise ConventionError(
            expected="0 <= shard < num_shards", got=f"{shard} of {num_shards}", argument="shard",
            advice="Number the jobs of an array from 0.",
        )  # fmt: skip


def note_plan(source: MeshSource, root: Path, config: BuildConfig, *, objects: int) -> None:
    """Write the settings of a build into its folder, or compare them with those noted there.

    Raises:
        ConventionError: The folder holds something else, or a build with other settings, another
            law or other versions of the packages that make pixels.
    """
    now = settings(source, config, objects)
    # Listed before looking for the plan: another shard may be writing it at this moment.
    foreign = [p for p in root.iterdir() if not p.name.startswith((PLAN, f".{PLAN}."))]
    differ = differences(root, now)
    if differ is None and foreign:
        raise ConventionError(
            expected="an empty folder, or one with a build",
            got="a folder with other files",
            argument=str(root),
            advice="Choose another folder.",
        )
    if differ is None:
        write_json(root / PLAN, now)
    elif differ:
        raise refused(root, differ)


def differences(root: Path, now: dict[str, Any]) -> dict[str, tuple[Any, Any]] | None:
    """Settings before and now, where they differ; None where the folder has no plan.

    Raises:
        DataFormatError: The plan is damaged; names the file.
    """
    path = root / PLAN
    if not path.is_file():
        return None
    return flat_differences(read_json(path), now)


def flat_differences(was: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """Values of two plans that differ, before and now, by their flat names."""
    before, after = _flat(was), _flat(now)
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def refused(root: Path, differ: dict[str, tuple[Any, Any]]) -> ConventionError:
    """The error that names settings which differ from those of the build in a folder."""
    was, now = differ.get("config.views", (0, 0))
    fewer = isinstance(was, int) and isinstance(now, int) and now < was
    grows = not fewer and not differ.keys() - growing(differ)
    add = "call with add=True (--add) to let it grow, or " if grows else ""
    return ConventionError(
        expected="the settings the build in this folder was started with",
        got="; ".join(f"{key}: {now!r} instead of {was!r}" for key, (was, now) in differ.items()),
        argument=str(root),
        advice=f"To keep both, {add}choose another folder; or remove this one to start over.",
    )


def growing(differ: Mapping[str, tuple[Any, Any]]) -> set[str]:
    """Those of the settings that differ with which a set may grow: objects, views, more passes.

    Args:
        differ: Values before and now, by their flat names.

    Example:
        >>> sorted(growing({"config.passes": (None, ["mask"]), "config.seed": (0, 1)}))
        ['config.passes']
    """
    found = {key for key in differ if may_grow(key)}
    was, now = differ.get("config.passes", (None, None))
    if now and set(was or ()) < set(now):
        found.add("config.passes")
        if "versions.zlib" in differ and differ["versions.zlib"][0] is None:
            found.add("versions.zlib")  # pictures alone do not need it
    return found


def may_grow(key: str) -> bool:
    """Whether a setting says how many objects or views there are, not what they look like.

    Args:
        key: Its name in a plan, flat.

    Example:
        >>> may_grow("config.views"), may_grow("source.original_objects"), may_grow("config.seed")
        (True, True, False)
    """
    room, _, name = key.rpartition(".")
    name = name.replace("original_", "")
    return key in ("objects", "config.views") or (room == "source" and name in _OF_LISTS)


def settings(source: MeshSource, config: BuildConfig, objects: int) -> dict[str, Any]:
    """Everything that determines the bytes of a build."""
    recorded = asdict(config) | {"law": recorded_law(config.law)}
    if not config.passes:  # sets of pictures alone are as they were before there were passes
        del recorded["passes"]
    found = {
        "format_version": FORMAT_VERSION,
        "config": recorded,
        "source": source.describe(),
        "objects": objects,
        "versions": _versions() | versions_of_passes(config.passes),
    }
    ours = type(config.law) is ViewLaw and not own_classes(config.law.factors)
    return found if ours else {**found, "law": _written_law(config.law)}


def recorded_law(law: ViewLaw) -> dict[str, Any]:
    """The settings of a law; those of 3DIEBench's seven numbers alone are as they ever were."""
    found = asdict(law)
    later = {"angle_min_rad": law.angle_min_rad, "factors": recorded_factors(law.factors),
             "path": None if law.path is None else asdict(law.path)}  # fmt: skip
    for name, value in later.items():
        if value:
            found[name] = value
        else:
            del found[name]
    return found


def _written_law(written: ViewLaw) -> dict[str, str]:
    """Name of a law that is not ours, and a digest of its source, of those that it extends, and of
    what it keeps beside its fields; functions that it calls elsewhere are not seen."""
    law, digest = type(written), hashlib.sha256()
    known = {field.name for field in fields(written)}
    for name, value in sorted(vars(written).items()):
        text = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        if name not in known and b" at 0x" not in text:  # an address is another one every time
            digest.update(name.encode() + text)
    parts = list(law.__mro__[: law.__mro__.index(ViewLaw)])
    for own in own_classes(written.factors):
        parts += own.__mro__[: own.__mro__.index(Factor)]
    for part in parts:
        try:
            digest.update(inspect.getsource(part).encode())
        except (OSError, TypeError):  # typed in, or made by a program: its code alone is there
            for name, function in sorted(vars(part).items()):
                code = getattr(function, "__code__", None)
                digest.update(name.encode() + (code.co_code if code else b""))
    return {"class": f"{law.__module__}.{law.__qualname__}", "sha256": digest.hexdigest()}


def _check_law(config: BuildConfig) -> None:
    """Raise ConventionError where a law draws another number of columns than there are."""
    drawn = np.shape(config.law.sample(config.seed, "class/object", view=0))
    columns = config.law.columns()
    if drawn != (len(columns),):
        names = ", ".join(column.name for column in columns)
        raise ConventionError(
            expected=f"a law that draws {len(columns)} numbers: {names}",
            got=f"shape {drawn}", argument="config.law",
            advice="What else varies is a factor: ViewLaw(factors=...).",
        )  # fmt: skip


def _check_joints(source: MeshSource, config: BuildConfig) -> None:
    """Raise ConventionError where a law cannot be that of articulated objects, or of scenes."""
    law = config.law
    if isinstance(source, ArticulatedMeshes) and len(law.columns()) > len(COLUMNS):
        raise ConventionError(
            expected="a law without factors and path for articulated objects",
            got=f"{len(law.columns())} columns", argument="config.law",
            advice="Their latents go on with the states of joints.",
        )  # fmt: skip
    if not isinstance(source, SceneMeshes):
        return
    if law.path is not None:
        raise ConventionError(
            expected="a law without path for scenes of several objects", got="ObjectPath",
            argument="config.law",
            advice="A path moves one object; those of a scene are placed anew in every view.",
        )  # fmt: skip
    latent = law.sample(config.seed, "class/object", view=0)
    placed = law.scene(nothing(), latent)
    if placed.scale != 1.0 or any(placed.translation):
        raise ConventionError(
            expected="factors of camera and light for scenes of several objects",
            got=", ".join(factor.name for factor in law.factors), argument="config.law",
            advice="Objects of a scene have places and scales of their own: ArrangementLaw "
            "(--placement) draws them; leave ObjectTranslation and ObjectScale out.",
        )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"renderers": PIXELS}
    for package in _PIXEL_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _check_names(entries: Sequence[MeshEntry]) -> None:
    keys = [key_of(entry) for entry in entries]
    unfit = [key for key in keys if not all(map(is_safe, key.split("/", maxsplit=1)))]
    twice = len(keys) - len(set(keys))
    if not keys or unfit or twice:
        raise DataFormatError(
            expected="objects with different names of letters, digits and _ . -",
            got=repr(unfit[0]) if unfit else f"{len(keys)} objects, {twice} named twice",
            argument="source",
            advice="A class and an object id become folders.",
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {k: v for item in items for k, v in item.items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}
