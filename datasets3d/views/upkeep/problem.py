"""What is wrong with a data set, one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Something that is not what the manifest says.

    Args:
        kind: An "object" of the set or a "file" beside them that is missing or damaged, or what
            is "foreign" to it.
        name: Of the object, file or folder.
        text: One sentence.
    """

    kind: Literal["object", "file", "foreign"]
    name: str
    text: str
