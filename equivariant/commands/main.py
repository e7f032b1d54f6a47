"""The command ``equivariant``: finds the verb, and imports only what that verb needs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from equivariant.commands.stopping import Stopped, first_process
from equivariant.errors import DataFormatError, EquivariantError
from renderers import RendererError


@dataclass(frozen=True)
class Verb:
    """One verb of the command line, known before its module is imported.

    Args:
        module: Under ``equivariant.commands``.
        type_name: The dataclass in it whose fields are the options; called, it runs.
        summary: First line of that class's docstring, for the list of verbs.
    """

    module: str
    type_name: str
    summary: str

    def load(self) -> Callable[..., Callable[[], None]]:
        """Import the module and return the class."""
        module = import_module(f"equivariant.commands.{self.module}")
        found: Callable[..., Callable[[], None]] = getattr(module, self.type_name)
        return found


VERBS = {
    "demo": Verb(
        "demo", "Demo",
        "The whole way in minutes: render a data set, train SIE and baselines, measure, one page.",
    ),
    "build": Verb(
        "build", "Build",
        "Render a data set of views with known rotation, floor hue, light position and light hue.",
    ),
    "train": Verb(
        "train", "Train",
        "Train a method on a data set of views; everything is kept in a run folder.",
    ),
    "evaluate": Verb(
        "evaluate", "Evaluate",
        "Evaluate a run by 3DIEBench's protocol; writes measures.json into its folder.",
    ),
    "measure": Verb(
        "measure", "Measure",
        "Measure the equivariance of any model, or of the action of a trained run.",
    ),
    "report": Verb(
        "report", "Report",
        "One self-contained page on one or several runs of one data set: no scripts, no network.",
    ),
    "train-force-field": Verb(
        "train_force_field", "TrainForceField",
        "Train a force field on molecules with energies and forces.",
    ),
    "evaluate-force-field": Verb(
        "evaluate_force_field", "EvaluateForceField",
        "Compare a trained force field with known energies and forces; writes measures.json.",
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

DESCRIPTION = """Geometric deep learning with symmetry: generate views whose transformations are
known, train models that respect or learn a symmetry, measure equivariance.
`equivariant VERB --help` explains a verb; `equivariant --replay RUN` repeats the command that
made a run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: After the program's name; None takes the process's.

    Returns:
        Exit status: 0, or 1 after an error that is the user's to mend, 128 and the number of the
        signal after one that stopped it: 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["--replay"]:
            words = _saved_command(words[1:])
        if not words or words[0] not in VERBS:
            _explain_verbs(words)
        command = tyro.cli(VERBS[words[0]].load(), prog=f"equivariant {words[0]}", args=words[1:])
        if getattr(command, "resume", None) is not None:
            resume = import_module("equivariant.commands.resume")
            command = resume.resumed(command, words[1:])
        command()
    except (EquivariantError, RendererError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
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


def _explain_verbs(words: list[str]) -> None:
    """List the verbs, or say that a word is none of them; leaves the process either way."""
    kinds = [
        Annotated[
            make_dataclass(verb.type_name, []),
            tyro.conf.subcommand(name, description=verb.summary),
        ]
        for name, verb in VERBS.items()
    ]
    any_verb: Any = Union[tuple(kinds)]  # noqa: UP007
    tyro.cli(any_verb, prog="equivariant", description=DESCRIPTION, args=words)


def _saved_command(words: list[str]) -> list[str]:
    path = Path(words[0] if words else ".") / "command.txt"
    if not path.is_file():
        raise DataFormatError(
            expected="a run folder with command.txt", got="none", argument=str(path),
            advice="Pass runs/<name>/<time>-<letters>.",
        )  # fmt: skip
    return path.read_text().splitlines()[1:]


if __name__ == "__main__":
    sys.exit(main())
