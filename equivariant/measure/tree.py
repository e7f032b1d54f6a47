"""Inputs and outputs of several tensors: tuples, lists and dictionaries of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor


def leaves(tree: Any, name: str = "") -> dict[str, Any]:
    """What stands at the ends of nested tuples, lists and dictionaries, by its path.

    Args:
        tree: Anything; what is no tuple, list or dictionary is a leaf.
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
    """The tensors of a tree by path."""
    return {name: leaf for name, leaf in leaves(tree).items() if isinstance(leaf, Tensor)}


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
    if isinstance(tree, Mapping):
        return new
    values = list(new.values())
    if isinstance(tree, tuple):
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return values


def detached(tree: Any) -> Any:
    """The same tree without a graph behind its tensors."""
    return rebuild(tree, lambda _, leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf)


def widened(tree: Any) -> Any:
    """The same tree with floating-point tensors in float64."""

    def wide(_: str, leaf: Any) -> Any:
        floating = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.double() if floating else leaf

    return rebuild(tree, wide)


def fresh(tree: Any) -> Any:
    """The same tree with copies of its tensors, which may be written into."""
    return rebuild(tree, lambda _, leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf)


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
    if isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        return dict(enumerate(tree))
    return None
