"""Measures of runs: kept while what they depend on is the same, and titles that tell runs apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from equivariant.errors import ConventionError
from equivariant.runs import RunFolder, read_json
from equivariant.workflows.recipe import is_free


def kept_measures(
    run: RunFolder, fingerprint: dict[str, Any], evaluate: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What ``measures.json`` says, made again if weights, data or settings are others now.

    Args:
        run: Folder.
        fingerprint: Of what measures depend on now; JSON. Measures carry theirs.
        evaluate: Makes the measures again and writes them.
    """
    path = run.path / "measures.json"
    measures: dict[str, Any] = read_json(path) if path.is_file() else {}
    return measures if measures.get("fingerprint") == fingerprint else evaluate()


def settings_by_name(settings: Any) -> dict[str, Any]:
    """What determines a run besides its data, by dotted names such as ``model.width``.

    Args:
        settings: A dataclass, with others inside. ``data`` and what changes no weights are left
            out.
    """
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name == "data" or is_free(field):
            continue
        if is_dataclass(value):
            found |= {f"{field.name}.{k}": v for k, v in settings_by_name(value).items()}
        else:
            found[field.name] = value
    return found


def check_each_once(paths: Sequence[Path]) -> None:
    """Raise ConventionError if a run is named twice.

    Args:
        paths: Folders of runs.
    """
    places = [path.resolve() for path in paths]
    if len(set(places)) < len(places):
        raise ConventionError(
            expected="every run once", got=", ".join(str(place) for place in places),
            argument="runs", advice="Leave out what is there twice.",
        )  # fmt: skip


def titles_apart(
    titles: Sequence[str], settings: Sequence[Any], paths: Sequence[Path]
) -> list[str]:
    """Titles by which runs can be told apart: equal ones say in which settings they differ.

    Args:
        titles: Of the runs.
        settings: Of the runs, dataclasses.
        paths: Folders of the runs, whose names tell apart what nothing else does.
    """
    by_name = [settings_by_name(each) for each in settings]
    result = []
    for title, own in zip(titles, by_name, strict=True):
        same = [other for name, other in zip(titles, by_name, strict=True) if name == title]
        differ = [n for n in own if any(other.get(n) != own[n] for other in same)]
        words = ", ".join(f"{name.rpartition('.')[2]} {own[name]}" for name in differ[:3])
        result.append(f"{title} ({words})" if words else title)
    return [
        name if result.count(name) == 1 else f"{name}, {path.resolve().name}"
        for name, path in zip(result, paths, strict=True)
    ]
