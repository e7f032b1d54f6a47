"""The verbs of ``equivariant``: finds the one asked for, and imports only what it needs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import tyro

from equivariant.commands.stopping import Stopped, first_process, interrupts_end_it
from equivariant.commands.terminal import explain, note, quit_output
from equivariant.errors import DataFormatError, EquivariantError
from renderers import RendererError


@dataclass(frozen=True)
class Verb:
    """One verb of the command line, known before its module is imported.

    Args:
        module: Under ``equivariant.commands``.
        attribute: In it: a dataclass whose fields are the options, and which runs when it is
            called; or a function that makes such a command from the words after the verb, where
            the options depend on a recipe.
        summary: First line of the docstring, for the list of verbs.
    """

    module: str
    attribute: str
    summary: str

    def load(self) -> Callable[..., Callable[[], None]]:
        """Import the module and return the class or function."""
        with interrupts_end_it():
            module = import_module(f"equivariant.commands.{self.module}")
        found: Callable[..., Callable[[], None]] = getattr(module, self.attribute)
        return found

    def parse(self, words: list[str], *, prog: str) -> Callable[[], None]:
        """The command that words ask for.

        Args:
            words: After the verb.
            prog: The program with the verb.
        """
        found = self.load()
        if isinstance(found, type):
            command: Callable[[], None] = tyro.cli(found, prog=prog, args=words)
            return command
        return found(words)


VERBS = {
    "demo": Verb(
        "demo", "demo",
        "The whole way in minutes: render a data set, train SIE and baselines, measure, one page.",
    ),
    "build": Verb(
        "build", "build_command",
        "Render a data set of views with known rotation, floor hue, light position and light hue.",
    ),
    "suite": Verb(
        "views.suite", "Suite",
        "Build four sets of the same objects: training law, unseen rotations, motions, sequences.",
    ),
    "verify": Verb(
        "verify", "Verify",
        "Compare a data set with its checksums, every byte; rewrite what is damaged with --repair.",
    ),
    "export": Verb(
        "views.export", "Export",
        "Write a data set for other readers: WebDataset, NeRF and instant-ngp, BOP, COCO.",
    ),
    "turntable": Verb(
        "views.turntable", "Turntable",
        "Look at a mesh from all sides: a GIF that loops, or a folder of PNGs.",
    ),
    "train": Verb(
        "train", "train",
        "Train a recipe; everything is kept in a run folder.",
    ),
    "evaluate": Verb(
        "evaluate", "evaluate",
        "Evaluate a run as its recipe does it; writes measures.json into its folder.",
    ),
    "measure": Verb(
        "measure", "measure",
        "Measure the equivariance of any model, or of the action of a trained run.",
    ),
    "report": Verb(
        "report", "report",
        "One self-contained page on one or several runs of a recipe: no scripts, no network.",
    ),
    "losses": Verb(
        "losses", "Losses",
        "List the objectives, explain some of them, or write their catalogue.",
    ),
    "doctor": Verb(
        "doctor", "Doctor",
        "Say what works here: versions, devices, renderers, and how fast they are.",
    ),
}  # fmt: skip

OLD_SPELLINGS = {
    "train-force-field": ("train", "force-field"),
    "evaluate-force-field": ("evaluate",),
}
"""Verbs of earlier versions, and what is written in their place."""

DESCRIPTION = """Geometric deep learning with symmetry: generate views whose transformations are
known, train models that respect or learn a symmetry, measure equivariance.
`equivariant VERB --help` explains a verb; `equivariant --replay RUN` repeats the command that
made a run."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """What :func:`equivariant.commands.main.main` does, once this module is imported.

    Args:
        arguments: After the program's name; None takes the process's.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["--replay"]:
            words = _saved_command(words[1:])
        words = _of_today(words)
        if not words or words[0] not in VERBS:
            summaries = {name: verb.summary for name, verb in VERBS.items()}
            explain(summaries, words, prog="equivariant", description=DESCRIPTION)
        VERBS[words[0]].parse(words[1:], prog=f"equivariant {words[0]}")()
    except (EquivariantError, RendererError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:
        quit_output()
        return 128 + 13
    except Stopped as stop:
        if first_process():
            sys.stderr.write(f"\n{stop.text}\n")
        return stop.status
    except KeyboardInterrupt as stop:
        if first_process():
            line = shlex.join(["equivariant", *words])
            sys.stderr.write(f"\nstopped; the same command goes on where it can: {line}\n")
        return 128 + getattr(stop, "number", 2)
    return 0


def _of_today(words: list[str]) -> list[str]:
    """The words of a command in today's grammar; a note on stderr says what changed."""
    if not words or words[0] not in OLD_SPELLINGS:
        return words
    new = OLD_SPELLINGS[words[0]]
    note(f"`equivariant {words[0]}` is `equivariant {' '.join(new)}` now")
    return [*new, *words[1:]]


def _saved_command(words: list[str]) -> list[str]:
    """The words after the program's name that made a run, from its ``command.txt``."""
    path = Path(words[0] if words else ".") / "command.txt"
    if not path.is_file():
        raise DataFormatError(
            expected="a run folder with command.txt", got="none", argument=str(path),
            advice="Pass runs/<name>/<time>-<letters>.",
        )  # fmt: skip
    return path.read_text().splitlines()[1:]
