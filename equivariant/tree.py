"""Inputs and outputs of several tensors: tuples, lists, dictionaries and records of them.

A record holds values under keys and has ``keys`` and ``[key]``, as ``Data`` of PyTorch Geometric
does; how else it is reached (``data.pos``) stays as it is. NumPy arrays count as tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError


def leaves(tree: Any, name: str = "") -> dict[str, Any]:
    """What stands at the ends of nested tuples, lists, dictionaries and records, by its path.

    Args:
        tree: Anything; what is none of these is a leaf.
        name: Path of the tree itself.

    Returns:
        Leaves by path: keys and indices joined by dots, ``""`` for a tree that is a leaf.

    Example:
        >>> leaves({"energy": 1, "parts": (2, 3)})
        {'energy': 1, 'parts.0': 2, 'parts.1': 3}
    """
    children = _children(tree)
    if children is None:
        return {name: tree}
    found: dict[str, Any] = {}
    for key, child in children.items():
        found.update(leaves(child, f"{name}.{key}" if name else str(key)))
    return found


def tensors(tree: Any) -> dict[str, Tensor]:
    """The tensors of a tree by path, NumPy arrays of numbers among them."""
    found = {name: as_tensor(leaf) for name, leaf in leaves(tree).items()}
    return {name: leaf for name, leaf in found.items() if leaf is not None}


def as_tensor(leaf: Any) -> Tensor | None:
    """A leaf as a tensor, None where it is neither tensor nor array."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
        plain = leaf.flags.c_contiguous and leaf.flags.writeable
        return torch.from_numpy(leaf if plain else leaf.copy())
    return leaf if isinstance(leaf, Tensor) else None


def of_kind(value: Tensor, leaf: Any) -> Any:
    """A tensor as what the leaf is that it takes the place of: a tensor, or a NumPy array."""
    return value.detach().cpu().numpy() if isinstance(leaf, np.ndarray) else value


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tree with every tensor and every array changed."""

    def one(_: str, leaf: Any) -> Any:
        value = as_tensor(leaf)
        return leaf if value is None else of_kind(change(value), leaf)

    return rebuild(tree, one)


def rebuild(tree: Any, replace: Callable[[str, Any], Any], name: str = "") -> Any:
    """The same tree with every leaf replaced.

    Args:
        tree: The tree.
        replace: Called with the path and the leaf.
        name: Path of the tree itself.

    Example:
        >>> rebuild({"a": 1, "b": [2]}, lambda name, leaf: f"{name}={leaf}")
        {'a': 'a=1', 'b': ['b.0=2']}
    """
    children = _children(tree)
    if children is None:
        return replace(name, tree)
    new = {
        key: rebuild(child, replace, f"{name}.{key}" if name else str(key))
        for key, child in children.items()
    }
    if type(tree) is dict:
        return new
    if _keyed(tree):
        return _refilled(tree, new)
    values = list(new.values())
    if isinstance(tree, tuple):
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return values


def detached(tree: Any) -> Any:
    """The same tree without a graph behind its tensors."""
    return mapped(tree, Tensor.detach)


def widened(tree: Any) -> Any:
    """The same tree with floating-point tensors in float64."""
    return mapped(tree, lambda leaf: leaf.double() if leaf.is_floating_point() else leaf)


def fresh(tree: Any) -> Any:
    """The same tree with copies of its tensors, which may be written into."""
    return mapped(tree, Tensor.clone)


def call(f: Callable[..., Any], x: Any) -> Any:
    """f(x), where a tuple is spread over the arguments, with copies of the tensors of x.

    A map may write into what it is given (``p -= p.mean(1)``): x stays as it is.

    Example:
        >>> call(max, (2, 3)), call(sum, [2, 3])
        (3, 5)
    """
    return spread_over(f, fresh(x))


def spread_over(f: Callable[..., Any], x: Any) -> Any:
    """f(x), where a tuple is spread over the arguments, with x itself."""
    return f(*x) if isinstance(x, tuple) else f(x)


def spreading(f: Callable[..., Any]) -> Callable[[Any], Any]:
    """f as a function of one argument, of which a tuple is spread over the arguments of f."""

    def g(x: Any) -> Any:
        return call(f, x)

    return g


def _children(tree: Any) -> dict[Any, Any] | None:
    if isinstance(tree, Mapping):
        return dict(tree)
    if _keyed(tree):
        keys = tree.keys() if callable(tree.keys) else tree.keys
        return {key: tree[key] for key in keys}
    if isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        return dict(enumerate(tree))
    return None


def _keyed(tree: Any) -> bool:
    """Whether a tree holds its children under keys: a mapping, or a record."""
    if isinstance(tree, Mapping):
        return True
    reached = hasattr(type(tree), "keys") and hasattr(type(tree), "__getitem__")
    return reached and not isinstance(tree, Tensor | nn.Module | type)


def _fields(tree: Any) -> dict[str, Any]:
    return getattr(tree, "__dict__", {})


def _refilled(tree: Any, new: dict[Any, Any]) -> Any:
    """A copy of a mapping or record with other values; a mapping that is fixed gives a dict."""
    if isinstance(tree, Mapping) and not hasattr(type(tree), "__setitem__"):
        return new
    old = _children(tree) or {}
    if (
        hasattr(type(tree), "__copy__")
        or isinstance(tree, dict)
        or new.keys() <= set(_fields(tree))
    ):
        twin = copy(tree)
    else:  # values lie deeper: copy the record, not what it holds
        twin = deepcopy(tree, {id(value): value for value in old.values()})
    for key, value in new.items():
        if value is old[key]:
            continue
        if hasattr(type(twin), "__setitem__"):
            twin[key] = value
        else:
            setattr(twin, key, value)
    if any(tree[key] is not value for key, value in old.items() if isinstance(value, Tensor)):
        raise ConventionError(
            expected="a record whose copy can be changed without changing it",
            got=type(tree).__name__,
            argument="x",
            advice="Give it a __copy__ that copies what holds its values, or pass a dictionary.",
        )
    return twin
