"""Commands that were told to stop."""

from __future__ import annotations

import os


class Stopped(KeyboardInterrupt):
    """A command was told to stop.

    Args:
        text: What to say.
        status: Exit status.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text, self.status = text, status


def first_process() -> bool:
    """Whether this process speaks to the user; where training uses several, one does."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
