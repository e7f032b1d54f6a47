"""equivariant measure: a run as its recipe does it, or any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

import tyro

from equivariant.commands.grammar.run_verbs import OneRun, on_runs, run_among
from equivariant.errors import ConventionError


def measure(words: Sequence[str]) -> Callable[[], None]:
    """Measure the equivariance of any model, or of the action of a trained run.

    Args:
        words: After ``equivariant measure``.

    Raises:
        ConventionError: Both a run and a model are named.
    """
    run = run_among(words)
    model = any(word == "--model" or word.startswith("--model=") for word in words)
    if run is not None and model:
        raise ConventionError(
            expected="a run folder, or --model", got="both", argument="run",
            advice="Measure one after the other.",
        )  # fmt: skip
    first = words[0] if words else "--help"
    if run is None and (model or first.startswith("-")):
        kind = import_module("equivariant.commands.measure_model").MeasureModel
        command: Callable[[], None] = tyro.cli(kind, prog="equivariant measure", args=list(words))
        return command
    return on_runs("measure", words, begin=OneRun, help_of=measure)
