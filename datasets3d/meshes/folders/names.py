"""Names of the objects of a folder: fit for folders, unique, and kept by a set that grows."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from datasets3d.meshes.source import MeshEntry, Split

Found = tuple[str, str, Split | None, str]  # class folder, stem, split, path from the root
LONGEST: Final = 240  # bytes of a name; file systems take 255, and endings are added
DIGITS: Final = 8


def safe_name(name: str) -> str:
    """A name of letters and digits of any script, ``_ . -``, that does not start with a dot.

    Args:
        name: Any file name. One longer than 240 bytes is cut, and ends in ``-`` and eight digits
            of the SHA-256 of the whole.

    Returns:
        The name in Unicode's normal form C, other characters replaced by ``_``.

    Example:
        >>> safe_name(".über chair.v2"), safe_name("椅子")
        ('_über_chair.v2', '椅子')
    """
    text = unicodedata.normalize("NFC", name)
    clean = "".join(character if _is_fit(character) else "_" for character in text)
    clean = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), clean) or "_"
    if len(clean.encode()) <= LONGEST:
        return clean
    return told_apart(clean, name)


def is_safe(name: str) -> bool:
    """Whether a name is one that :func:`safe_name` may give, of any length.

    Args:
        name: Of a class or an object.
    """
    return bool(name) and not name.startswith(".") and all(map(_is_fit, name))


def told_apart(name: str, whole: str) -> str:
    """A name that ends in ``-`` and the first eight digits of the SHA-256 of a text.

    Args:
        name: What is cut where the result would be too long.
        whole: The text.
    """
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
    room = LONGEST - DIGITS - 1
    return f"{name.encode()[:room].decode(errors='ignore')}-{digest}"


def named(found: Sequence[Found], kept: Mapping[str, str]) -> list[MeshEntry]:
    """Entries with path-safe names that are unique whatever the letter case.

    Args:
        found: Class folder, stem, split and path of each file.
        kept: Names that stay though others would be the same: of objects by path, of classes by
            folder with a slash behind it. The others are told apart by a digest.
    """
    folders = {entry[0]: kept.get(f"{entry[0]}/", safe_name(entry[0])) for entry in found}
    shared = Counter(label.casefold() for label in folders.values())
    labels = {
        folder: told_apart(label, folder)
        if shared[label.casefold()] > 1 and f"{folder}/" not in kept
        else label
        for folder, label in folders.items()
    }
    names = [kept.get(path, safe_name(stem)) for _, stem, _, path in found]
    used = Counter(
        (labels[entry[0]], name.casefold()) for entry, name in zip(found, names, strict=True)
    )
    entries = []
    for (folder, _, split, path), name in zip(found, names, strict=True):
        label = labels[folder]
        shares = used[label, name.casefold()] > 1 and path not in kept
        unique = told_apart(name, path) if shares else name
        entries.append(MeshEntry(label=label, object_id=unique, split=split, path=path))
    return entries


def names_to_keep(
    found: Sequence[Found],
    known: Mapping[str, str],
    *,
    kept: Mapping[str, str],
    fingerprint: Callable[[str], str],
) -> dict[str, str]:
    """Names by which a set calls objects that its folder would call otherwise now.

    A file that came later may have the name of an older one, and a class likewise; sets of earlier
    versions wrote ``_`` for letters that are not ASCII. The older one is told by its contents.

    Args:
        found: As for :func:`named`.
        known: Digest of the mesh of each object of the set, by ``<class>/<object id>``.
        kept: Names that are kept already.
        fingerprint: Gives the digest of the mesh of a path.

    Returns:
        What :func:`named` is to be given, ``kept`` among it.
    """
    now = {f"{e.label}/{e.object_id}": e.path for e in named(found, kept)}
    lost = {key: mesh for key, mesh in known.items() if mesh and key not in now}
    if not lost:
        return dict(kept)
    maybe: dict[str, list[Found]] = {}
    for entry in found:
        for label in _spellings(entry[0], entry[0]):
            for name in _spellings(entry[1], entry[3]):
                maybe.setdefault(f"{label}/{name}", []).append(entry)
    same: dict[str, str] = {}  # name in the set by path
    votes: dict[str, Counter[str]] = {}  # labels in the set by class folder
    for key in sorted(lost):
        for folder, _, _, path in maybe.get(key, ()):
            if path not in same and fingerprint(path) == lost[key]:
                same[path] = key
                votes.setdefault(folder, Counter())[key.split("/")[0]] += 1
                break
    result = dict(kept)
    for folder, labels in votes.items():
        result[f"{folder}/"] = labels.most_common(1)[0][0]
    for path, key in same.items():
        result[path] = key.split("/")[1]
    return _needed(found, result)


def _needed(found: Sequence[Found], kept: dict[str, str]) -> dict[str, str]:
    """Of names to be kept those that would be others otherwise."""
    plain = {entry.path: entry for entry in named(found, {})}
    folders = {path: folder for folder, _, _, path in found}
    labels = {f"{folder}/": plain[path].label for path, folder in folders.items()}
    return {
        place: name for place, name in sorted(kept.items())
        if (labels.get(place) if place.endswith("/") else plain[place].object_id) != name
    }  # fmt: skip


def _spellings(name: str, whole: str) -> set[str]:
    """What a set may call a file or class folder, today's and earlier versions' names."""
    earlier = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    earlier = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), earlier) or "_"
    return {each for n in (safe_name(name), earlier) for each in (n, told_apart(n, whole))}


def _is_fit(character: str) -> bool:
    """Whether a character may stand in a name: ASCII ones as ever; letters, marks and numbers of
    other scripts."""
    if character.isascii():
        return character.isalnum() or character in "_.-"
    return unicodedata.category(character)[0] in "LMN"
