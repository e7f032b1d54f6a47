"""Docstrings as the site shows them: examples as code, roles such as ``:func:`x` `` as names."""

import re
from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Every docstring of the packages has at most one ``Example:`` section."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section and plain out roles before the docstring is parsed."""
        if obj.docstring is not None:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = re.sub(r":(?:func|class|meth|mod):`~?([^`]+)`", r"`\1`", text)
