"""Exceptions of the renderers: what was expected, what came, where, and what to do."""

from __future__ import annotations

from typing import Any


class RendererError(Exception):
    """A scene or setting that cannot be rendered.

    Args:
        expected: What the renderer accepts, as a noun phrase.
        got: What came instead.
        argument: Name of the argument or field at fault.
        advice: One sentence that says what to do.
    """

    def __init__(self, *, expected: str, got: str, argument: str, advice: str) -> None:
        super().__init__(f"{argument}: expected {expected}, got {got}. {advice}")
        self.expected = expected
        self.got = got
        self.argument = argument
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the trip between processes in spite of keyword-only parts."""
        return _rebuild, (type(self), self.expected, self.got, self.argument, self.advice)


class RendererUnavailableError(RendererError):
    """A renderer whose package or system library is missing here; the message says which."""


def _rebuild(
    kind: type[RendererError], expected: str, got: str, argument: str, advice: str
) -> RendererError:
    return kind(expected=expected, got=got, argument=argument, advice=advice)
