"""equivariant report"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from equivariant.commands.grammar.run_verbs import SeveralRuns, on_runs


def report(words: Sequence[str]) -> Callable[[], None]:
    """One self-contained page on one or several runs of a recipe: no scripts, no network.

    Args:
        words: After ``equivariant report``.
    """
    return on_runs("report", words, begin=SeveralRuns, help_of=report)
