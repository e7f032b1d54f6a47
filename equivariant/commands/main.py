"""The command ``equivariant``; imports nothing heavy, so that Ctrl-C is heard from the first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from equivariant.commands.stopping import interrupts_end_it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: After the program's name; None takes the process's.

    Returns:
        Exit status: 0, or 1 after an error that is the user's to mend, 128 and the number of the
        signal after one that stopped it: 130 after Ctrl-C, 141 where who reads the output has
        left (``| head``).
    """
    with interrupts_end_it():
        verbs = import_module("equivariant.commands.grammar.verbs")
    status: int = verbs.run_command(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
