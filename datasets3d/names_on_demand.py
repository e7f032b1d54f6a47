"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_on_demand(
    package: str, modules: Mapping[str, str], *, renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package that imports nothing by itself.

    Args:
        package: Its name.
        modules: For each public name the module below the package that defines it.
        renamed: Earlier names and what they are now; they work, with a DeprecationWarning.

    Example:
        >>> get, names = names_on_demand("datasets3d", {"ViewLaw": "views.latents"})
        >>> get("ViewLaw").__name__, "ViewLaw" in names()
        ('ViewLaw', True)
    """

    earlier = renamed or {}

    def get(name: str) -> Any:
        if name in earlier:
            now = earlier[name]
            text = f"{package}.{name} is {now} now"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[package], now)
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
