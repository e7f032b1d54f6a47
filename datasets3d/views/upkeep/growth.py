"""A data set grows: more objects, more views, more passes, without starting over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.object_notes import Note, read_notes, write_notes
from datasets3d.views.passes.kinds import recorded_passes
from datasets3d.views.plan import differences, growing, key_of, refused, settings
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.splits import split_of
from equivariant.errors import ConventionError
from equivariant.runs import read_json, write_json


def known_notes(root: Path) -> dict[str, Note]:
    """What is known of the objects that are there: by the manifest, or else by their notes.

    Raises:
        DataFormatError: The manifest is damaged.
    """
    if not (root / MANIFEST).is_file():
        return read_notes(root)
    manifest = Manifest.read(root)
    return {
        key: Note(checksum, manifest.meshes.get(key, ""))
        for key, checksum in manifest.digests.items()
    }


def as_in_set(source: MeshSource, root: Path, *, add: bool) -> MeshSource:
    """The source, its objects called as the set in a folder calls them.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        add: Whether the set is to grow: files that came later may have the names of older ones.

    Raises:
        DataFormatError: Plan or manifest is damaged; or the source is missing or empty.
    """
    if not (root / PLAN).is_file():
        return source
    plan = read_json(root / PLAN)
    recorded = plan.get("source") if isinstance(plan, dict) else None
    if isinstance(recorded, dict):
        source = source.as_recorded(recorded)
    if not add:
        return source
    known = {key: note.mesh for key, note in known_notes(root).items()}
    if set(known) <= {key_of(entry) for entry in source.entries()}:
        return source
    return source.keeping_names(known)


def grows(
    source: MeshSource, root: Path, config: BuildConfig, entries: Sequence[MeshEntry]
) -> bool:
    """Whether a build's settings are those of the set in its folder, but for more of it.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
        entries: All objects.

    Returns:
        False where the folder holds no build, or one with just these settings.

    Raises:
        ConventionError: Another setting differs, objects or views would be lost, or objects would
            change from one split to the other.
    """
    differ = differences(root, settings(source, config, len(entries)))
    if not differ:
        return False
    more = growing(differ)
    others = {key: values for key, values in differ.items() if key not in more}
    if others:
        raise refused(root, others)
    before, now = differ.get("config.views", (config.views, config.views))
    if now < before:
        raise _no_growth(root, f"at least {before} views", f"{now}", "Ask for more views.")
    _check_objects(root, config, entries)
    return True


def gains_passes(root: Path, config: BuildConfig) -> bool:
    """Whether a set that is to grow gets passes that it did not have.

    Args:
        root: The data set's folder.
        config: What it is to have.
    """
    return set(config.passes) > set(recorded_passes(read_json(root / PLAN)["config"]))


def _check_objects(root: Path, config: BuildConfig, entries: Sequence[MeshEntry]) -> None:
    side = {
        key_of(e): split_of(
            e, val_fraction=config.val_fraction, seed=config.seed, by=config.split_by
        )
        for e in entries
    }
    splits: dict[str, str] = {}
    there = set(known_notes(root))
    if (root / MANIFEST).is_file():
        manifest = Manifest.read(root)
        splits = manifest.splits
    lost = sorted(there - set(side))
    if lost:
        raise _no_growth(
            root, "a source with all objects of the set, and more",
            f"one without {len(lost)} of them: {lost[0]}{_called_now(lost[0], side)}",
            "Add to the folder or the classes that it was built from; take nothing away.",
        )  # fmt: skip
    moved = sorted(key for key, split in splits.items() if side[key] != split)
    if moved:
        raise _no_growth(
            root, "objects that stay in their split",
            f"{len(moved)} that would change: {moved[0]} from {splits[moved[0]]}",
            "Choose another folder.",
        )  # fmt: skip


def _called_now(lost: str, names: Iterable[str]) -> str:
    """Says which objects have the name of a lost one but for a digest: files of one name."""
    digits = re.compile(re.escape(lost) + r"-[0-9a-f]{8}")
    alike = sorted(name for name in names if digits.fullmatch(name))
    return f" (which of {', '.join(alike)} it was, their contents do not tell)" if alike else ""


def begin_to_grow(
    source: MeshSource, root: Path, config: BuildConfig, entries: Sequence[MeshEntry]
) -> None:
    """Make of a finished set an unfinished larger one; any build of it then goes on.

    What the manifest knows is noted before it is removed, so nothing is rendered or read twice.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
        entries: All objects.

    Raises:
        ConventionError: Mesh files have changed since; the set is as it was.
    """
    check_meshes(source, root, entries, known_notes(root))
    if (root / MANIFEST).is_file():
        write_notes(root, known_notes(root))
        (root / MANIFEST).unlink()
    write_json(root / PLAN, settings(source, config, len(entries)))


def check_meshes(
    source: MeshSource, root: Path, entries: Sequence[MeshEntry], known: dict[str, Note],
    *, packed: Collection[str] = (),
) -> None:  # fmt: skip
    """Refuse to go on with meshes whose files are not those that objects were rendered from.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        entries: Objects; those that are not there are passed over.
        known: What is known of those that are.
        packed: Objects that are there in shards.

    Raises:
        ConventionError: Files have changed; names the first object.
    """
    changed = []
    for entry in entries:
        noted = known.get(key_of(entry))
        there = key_of(entry) in packed or (root / key_of(entry)).is_dir()
        if noted is None or not noted.mesh or not there:
            continue
        if source.fingerprint(entry) != noted.mesh:
            changed.append(key_of(entry))
    if changed:
        raise ConventionError(
            expected="the mesh files that the objects of this folder were rendered from",
            got=f"{len(changed)} changed since: {', '.join(changed[:3])}"
            + (", ..." if len(changed) > 3 else ""),
            argument=str(root),
            advice="Bring the files back; or remove these objects' folders, and the same call "
            "renders them anew.",
        )


def _no_growth(root: Path, expected: str, got: str, advice: str) -> ConventionError:
    return ConventionError(expected=expected, got=got, argument=str(root), advice=advice)
