"""equivariant evaluate"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

import tyro

from equivariant.commands.grammar.run_verbs import OneRun, on_runs


def evaluate(words: Sequence[str]) -> Callable[[], None]:
    """Evaluate a run as its recipe does it; writes measures.json into its folder.

    With ``DATA --published model.pth`` instead, a checkpoint of SIE's published code.

    Args:
        words: After ``equivariant evaluate``.
    """
    if any(word.partition("=")[0] == "--published" for word in words):
        kind = import_module("equivariant.commands.grammar.evaluate_published").EvaluatePublished
        command: Callable[[], None] = tyro.cli(kind, prog="equivariant evaluate", args=list(words))
        return command
    return on_runs("evaluate", words, begin=OneRun, help_of=evaluate)
