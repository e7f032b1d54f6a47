"""Tables of the results page, between the marks that name them."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "RESULTS.md"


def marked(text: str, name: str) -> str:
    """What stands between the marks of a name.

    Args:
        text: The page.
        name: Of the table.

    Raises:
        ValueError: The page has no such marks, or several.
    """
    found = re.findall(_pattern(name), text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} pairs of marks of {name}; it needs one")
    return str(found[0])


def replaced(text: str, name: str, table: str) -> str:
    """The page with another table between the marks of a name.

    Args:
        text: The page.
        name: Of the table.
        table: Markdown.

    Raises:
        ValueError: The page has no such marks, or several.
    """
    old = marked(text, name)
    begin, end = f"<!-- begin {name} -->\n\n", f"\n\n<!-- end {name} -->"
    return text.replace(f"{begin}{old}{end}", f"{begin}{table}{end}")


def _pattern(name: str) -> str:
    return rf"<!-- begin {name} -->\n\n(.*?)\n\n<!-- end {name} -->"
