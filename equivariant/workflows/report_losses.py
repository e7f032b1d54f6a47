"""The catalogue of objectives: what each computes, from what, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from equivariant.losses import PRESETS, Preset
from equivariant.losses.presets.preset import REQUIRED, Family
from equivariant.report.page import Section, Table, write_page
from equivariant.workflows.procedures import PROCEDURES

FAMILIES: dict[Family, tuple[str, str]] = {
    "softmax": ("One positive, many negatives", "A softmax between them, and what it leaves out."),
    "supervised": ("Several positives", "Classes, neighborhoods, tokens of one sequence."),
    "modalities": ("Modalities", "Rows of every side show one object."),
    "equivariant": ("After an action", "The first view is moved before views are compared."),
    "redundancy": ("Without negatives", "Statistics of columns keep the space from collapsing."),
    "temperature": ("Temperatures", "Of anchors and pairs, trained with the embeddings."),
    "weights": ("Weights", "Of anchors, candidates and pairs."),
    "prototypes": ("Prototypes", "Targets over centroids, codes and fixed vectors."),
    "synthesis": ("Made pairs", "Positives and negatives mixed from others."),
    "dense": ("Points and orders", "Positives by position; groups by a sort."),
    "spaces": ("Spaces", "Attraction and repulsion, uniformity, common and salient parts."),
}

MEMORY = {"rows": "O((N + M) D)", "pairs": "O(N M)"}


def settings_text(preset: Preset) -> str:
    """The settings of a preset in one line, ``tau=0.1, sigma=0.5``; "none" without any."""
    settings = preset.settings.items()
    shown = (name if value is REQUIRED else f"{name}={value!r}" for name, value in settings)
    return ", ".join(shown) or "none"


def presets_of(family: Family) -> list[Preset]:
    """The family's presets by name."""
    found = [preset for preset in PRESETS.values() if preset.family == family]
    return sorted(found, key=lambda preset: preset.name)


def write_catalogue(path: Path, families: Sequence[Family] = get_args(Family)) -> int:
    """Write the page of all presets, atomically.

    Args:
        path: Where to.
        families: Which, in order.

    Returns:
        How many presets stand on it.
    """
    header = ["Preset", "What it is for", "Formula", "Sides and settings", "Source"]
    sections = []
    for family in families:
        title, text = FAMILIES[family]
        rows = [_row(preset) for preset in presets_of(family)]
        caption = f"{len(rows)} objectives. N anchors, M candidates, D columns."
        sections.append(Section(title, text, [Table(header, rows, caption, prose=True)]))
    if set(families) == set(get_args(Family)):
        sections.append(_procedures())
    count = sum(len(presets_of(family)) for family in families)
    write_page(
        path,
        title="Objectives",
        lead=f"{count} objectives, all settings of one core: per anchor a pull on positives, a "
        "push on candidates, and a link between them.",
        sections=sections,
        footer="preset(name, **settings).build() makes the module; its call takes the sides by "
        "name. An objective marked 'ours' is our definition, inspired by its source.",
    )
    return count


def _procedures() -> Section:
    """The section of what is no preset."""
    rows = [[", ".join(p.names), p.purpose, p.room, p.source] for p in PROCEDURES]
    table = Table(
        ["Names", "What it is for", "From", "Source"], rows, f"{len(rows)} procedures.", prose=True
    )
    return Section("Procedures", "Beside objectives: no settings of the core.", [table])


def _row(preset: Preset) -> list[str]:
    """The row of one preset in the catalogue."""
    sides = "; ".join(f"{name}: {text}" for name, text in preset.sides.items())
    if preset.parts:
        sides += f"; parts {', '.join(preset.parts)}"
    mark = " (ours)" if preset.own else ""
    return [
        preset.name,
        f"{preset.title}{mark}. {preset.purpose}",
        f"{preset.formula}. Memory {MEMORY[preset.memory]}.",
        f"{sides}. Settings: {settings_text(preset)}.",
        preset.source,
    ]
