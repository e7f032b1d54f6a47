"""equivariant losses"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import tyro

from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.losses import Preset, preset
from equivariant.losses.presets.preset import Family
from equivariant.workflows.procedures import PROCEDURES
from equivariant.workflows.report_losses import (
    FAMILIES,
    MEMORY,
    presets_of,
    settings_text,
    write_catalogue,
)


@dataclass(frozen=True)
class Losses:
    """List the objectives, explain some of them, or write their catalogue.

    Without a name: every objective with what it is for, by family. With names: formula, settings,
    sides and source of each. In Python: `preset("dcl", tau=0.2).build()(a=z_a, b=z_b).total`.

    Args:
        names: Which to explain.
        family: List one family only.
        out: Write the catalogue as one self-contained page to this file instead.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    family: Family | None = None
    out: Path | None = None

    def __call__(self) -> None:
        if self.out is not None:
            if self.names:
                raise ConventionError(
                    expected="--out alone, or with --family", got=", ".join(self.names),
                    argument="names", advice="The page explains every objective of its families.",
                )  # fmt: skip
            families = get_args(Family) if self.family is None else (self.family,)
            count = write_catalogue(self.out, families)
            say(f"Page of {count} objectives: {self.out}")
        elif self.names:
            for found in [preset(name) for name in self.names]:
                _explain(found)
        else:
            for family in get_args(Family) if self.family is None else (self.family,):
                _list(family)
            if self.family is None:
                _list_procedures()


def _list(family: Family) -> None:
    """Say the names of one family of objectives, each with what it is for."""
    say(f"{FAMILIES[family][0]}  [{family}]")
    for found in presets_of(family):
        say(f"  {found.name:20} {found.purpose}")
    say("")


def _list_procedures() -> None:
    """Say what stands beside the objectives, and where it is imported from."""
    say("Procedures, which are no settings of the core")
    for found in PROCEDURES:
        say(f"  {', '.join(found.names)}")
        say(textwrap.indent(textwrap.fill(f"{found.purpose} From {found.room}.", 78), " " * 23))
    say("")


def _explain(found: Preset) -> None:
    """Say everything that is known of one objective."""
    say(f"{found.name}: {found.title}{' (our definition)' if found.own else ''}")
    sides = [f"{name}: {text}" for name, text in found.sides.items()]
    rows = {
        "for": found.purpose,
        "formula": found.formula,
        "settings": settings_text(found),
        "sides": "; ".join(sides),
        "parts": ", ".join(found.parts),
        "memory": MEMORY[found.memory],
        "source": found.source,
    }
    for name, value in rows.items():
        if value:
            say(textwrap.fill(f"  {name:9} {value}", 100, subsequent_indent=" " * 12))
    say("")
