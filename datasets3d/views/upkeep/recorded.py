"""What a data set says it was built from, made again: its settings and its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets3d.meshes.articulated import ArticulatedMeshes, JointLaw
from datasets3d.meshes.folder import MeshFolder
from datasets3d.meshes.procedural import ProceduralMeshes
from datasets3d.meshes.source import MeshSource
from datasets3d.meshes.variants import ORIGINAL, Variants
from datasets3d.scenes.arrangement_law import ArrangementLaw
from datasets3d.scenes.record import KIND
from datasets3d.scenes.scene_meshes import OF, SceneMeshes
from datasets3d.views.config import BuildConfig
from datasets3d.views.factors.paths import ObjectPath
from datasets3d.views.factors.record import factors_of
from datasets3d.views.latents import ViewLaw
from datasets3d.views.passes.kinds import recorded_passes
from equivariant.errors import ConventionError, DataFormatError


def recorded_config(recorded: Mapping[str, Any], *, law: ViewLaw | None = None) -> BuildConfig:
    """The settings of a build, from a plan or a manifest.

    Args:
        recorded: What it calls ``config``.
        law: The law of a build whose law is not ours, since its code is not recorded.

    Raises:
        DataFormatError: It holds other settings than a build has.
        ConventionError: A setting is out of its range.
    """
    try:
        values = dict(recorded)
        spans: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values["law"].items()
        }
        if law is None:
            spans["factors"] = factors_of(values["law"].get("factors", ()))
            if values["law"].get("path"):
                spans["path"] = ObjectPath(**values["law"]["path"])
        values["law"] = law or ViewLaw(**spans)
        values["passes"] = recorded_passes(values)
        return BuildConfig(**{field.name: values[field.name] for field in fields(BuildConfig)})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataFormatError(
            expected="the settings of a build", got=f"{type(error).__name__}: {error}",
            argument="config", advice="The plan or manifest is damaged or of another version.",
        ) from error  # fmt: skip


def recorded_source(recorded: Mapping[str, Any], *, meshes: Path | None = None) -> MeshSource:
    """The source of a data set, from its plan or manifest.

    Args:
        recorded: What it calls ``source``.
        meshes: The folder of mesh files, which is not recorded; None where there is none.

    Raises:
        ConventionError: It was built from a folder and none is given, or from a source that is
            not ours.
        DataFormatError: It holds other settings than a source has.

    Example:
        >>> source = recorded_source(ProceduralMeshes(instances=3, seed=2).describe())
        >>> source.describe()["instances"], source.describe()["seed"]
        (3, 2)
    """
    kind = recorded.get("source")
    try:
        if kind == "variants":
            return _variants(recorded, meshes)
        if kind == KIND:
            return _scenes(recorded, meshes)
        if kind == "folder":
            return _folder(recorded, meshes)
        if kind not in (ProceduralMeshes.kind, ArticulatedMeshes.kind):
            raise ConventionError(
                expected="a source of this package", got=repr(kind), argument="source",
                advice="Pass the source that the set was built from.",
            )  # fmt: skip
        numbered: dict[str, Any] = {
            "instances": int(recorded["instances"]),
            "classes": str(recorded["classes"]).split(","),
            "seed": int(recorded["seed"]),
            "val_fraction": float(recorded["val_fraction"]),
        }
        if kind == ProceduralMeshes.kind:
            return ProceduralMeshes(**numbered)
        law = JointLaw(float(recorded["from_share"]), float(recorded["to_share"]))
        return ArticulatedMeshes(**numbered, law=law)
    except (KeyError, TypeError, ValueError) as error:
        raise DataFormatError(
            expected=f"the settings of the source {kind!r}", argument="source",
            got=f"{type(error).__name__}: {error}",
            advice="The plan or manifest is damaged or of another version.",
        ) from error  # fmt: skip


def _variants(recorded: Mapping[str, Any], meshes: Path | None) -> MeshSource:
    inner = {
        name.removeprefix(ORIGINAL): value
        for name, value in recorded.items()
        if name.startswith(ORIGINAL)
    }
    return Variants(
        recorded_source(inner, meshes=meshes), count=int(recorded["count"]),
        seed=int(recorded["seed"]), strength=float(recorded["strength"]),
    )  # fmt: skip


def _scenes(recorded: Mapping[str, Any], meshes: Path | None) -> MeshSource:
    inner = {name.removeprefix(OF): v for name, v in recorded.items() if name.startswith(OF)}
    law = ArrangementLaw(
        recorded["placement"], (float(recorded["scale_low"]), float(recorded["scale_high"])),
        float(recorded["spread"]), float(recorded["height"]),
        (float(recorded["rise_low"]), float(recorded["rise_high"])),
    )  # fmt: skip
    return SceneMeshes(
        recorded_source(inner, meshes=meshes), scenes=int(recorded["instances"]),
        objects=int(recorded["objects_per_scene"]), arrangement=law, seed=int(recorded["seed"]),
        val_fraction=float(recorded["val_fraction"]),
    )  # fmt: skip


def _folder(recorded: Mapping[str, Any], meshes: Path | None) -> MeshSource:
    if meshes is None:
        raise ConventionError(
            expected="the folder of mesh files that the set was built from", got="none",
            argument="meshes", advice="Its place is not recorded: say where it is (--meshes).",
        )  # fmt: skip
    settings = {
        name: recorded[name] for name in ("up", "scale", "crease_rad", "strict") if name in recorded
    }
    return MeshFolder(meshes, **settings).as_recorded(recorded)
