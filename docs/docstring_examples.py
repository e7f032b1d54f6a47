"""Reads ``Example:`` in docstrings as griffe reads ``Examples:``, as code with its output."""

import re
from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Every docstring of the packages has at most one ``Example:`` section."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section before the docstring is parsed."""
        if obj.docstring is not None:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = text
