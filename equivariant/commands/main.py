"""The command ``equivariant``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.build import Build
from equivariant.commands.demo import Demo
from equivariant.commands.doctor import Doctor
from equivariant.commands.evaluate import Evaluate
from equivariant.commands.evaluate_force_field import EvaluateForceField
from equivariant.commands.losses import Losses
from equivariant.commands.measure import Measure
from equivariant.commands.report import Report
from equivariant.commands.train import Train
from equivariant.commands.train_force_field import TrainForceField
from equivariant.errors import DataFormatError, EquivariantError
from renderers import RendererError

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Measure, tyro.conf.subcommand("measure")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[TrainForceField, tyro.conf.subcommand("train-force-field")]
    | Annotated[EvaluateForceField, tyro.conf.subcommand("evaluate-force-field")]
    | Annotated[Losses, tyro.conf.subcommand("losses")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)

DESCRIPTION = """Geometric deep learning with symmetry: generate views whose transformations are
known, train models that respect or learn a symmetry, measure equivariance.
`equivariant --replay RUN` repeats the command that made a run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: After the program's name; None takes the process's.

    Returns:
        Exit status: 0, or 1 after an error that is the user's to mend, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["--replay"]:
            words = _saved_command(words[1:])
        command = tyro.cli(
            Command,
            prog="equivariant",
            description=DESCRIPTION,
            args=words,
        )
        command()
    except (EquivariantError, RendererError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on where it can\n")
        return 130
    return 0


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
