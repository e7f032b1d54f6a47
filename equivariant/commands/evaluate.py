"""equivariant evaluate"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from equivariant.commands.grammar.run_verbs import OneRun, on_runs


def evaluate(words: Sequence[str]) -> Callable[[], None]:
    """Evaluate a run as its recipe does it; writes measures.json into its folder.

    Args:
        words: After ``equivariant evaluate``.
    """
    return on_runs("evaluate", words, begin=OneRun, help_of=evaluate)
