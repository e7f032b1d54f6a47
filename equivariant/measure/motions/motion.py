"""How group elements move whole inputs and outputs, one element per item of a batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.shapes import Matrix
from equivariant.tree import as_tensor, leaves, of_kind, rebuild


@dataclass(frozen=True)
class Part:
    """A tensor of an output that is compared.

    Args:
        tensor: Values, shape (rows, ...).
        item_of_row: Which item each row belongs to, shape (rows,), int64; None where row and
            item are the same.
    """

    tensor: Tensor
    item_of_row: Tensor | None = None


class Motion(ABC):
    """How elements move an input or an output of any structure.

    An *item* is what errors are averaged over: an entry of the leading axis, or a graph.

    Args:
        group: Group that acts; None where nothing moves.
        batched: Whether every item of a batch can be moved by an element of its own.
    """

    def __init__(self, group: Group | None, *, batched: bool) -> None:
        self.group = group
        self.batched = batched

    @abstractmethod
    def move(self, g: Matrix, x: Any) -> Any:
        """g·x.

        Args:
            g: Elements, shape (items, n, n), or (n, n) for all items alike.
            x: Input or output. Tensors that move keep their dtype; the rest is passed on.
        """

    @abstractmethod
    def parts(self, y: Any) -> dict[str, Part]:
        """The tensors that are moved (also trivially), by path: what is compared."""

    @abstractmethod
    def items(self, x: Any) -> int:
        """Number of items in an input or output."""

    def mask(self, g: Matrix, name: str) -> Tensor | None:
        """Which entries of a part are defined after the move (inside the frame of an image).

        Returns:
            Boolean, broadcastable to the part; None for all.
        """
        return None


class TreeMotion(Motion):
    """Every tensor of a tree is moved by the action that stands at its place.

    Args:
        actions: An action, or tuples, lists and dictionaries of actions and None; None passes
            its subtree on and compares nothing there. Keys of x that are missing count as None.
        margin_px: Distance from the frame of warped images and volumes within which nothing is
            compared: the receptive radius of the map under test.

    Raises:
        ConventionError: There is no action, or two belong to different groups.

    Example:
        >>> from equivariant.actions import Points, Trivial
        >>> from equivariant.groups import SE3
        >>> motion = TreeMotion({"positions": Points(SE3()), "species": None})
        >>> x = {"positions": torch.zeros(2, 5, 3), "species": torch.ones(2, 5)}
        >>> motion.items(x), list(motion.parts(x))
        (2, ['positions'])
    """

    def __init__(self, actions: Any, *, margin_px: float = 0.0) -> None:
        found = {name: leaf for name, leaf in leaves(actions).items() if leaf is not None}
        wrong = [f"{n or 'the whole'}: {a}" for n, a in found.items() if not isinstance(a, Action)]
        groups = {action.group for action in found.values() if isinstance(action, Action)} - {None}
        if wrong or len(groups) > 1 or not found:
            raise ConventionError(
                expected="actions of one group, at least one, and None for what does not move",
                got=", ".join(wrong or sorted(map(str, groups))) or "no action",
                argument="actions",
                advice="Give an action, or tuples, lists and dictionaries of them; wrap a function "
                "as FunctionMotion(function, group).",
            )
        super().__init__(next(iter(groups), None), batched=True)
        self.tree, self.margin_px = actions, margin_px
        self.actions: dict[str, Action] = {
            name: deepcopy(action).double() for name, action in found.items()
        }

    def move(self, g: Matrix, x: Any) -> Any:
        return rebuild(x, lambda name, leaf: self._move_leaf(g, name, leaf))

    def parts(self, y: Any) -> dict[str, Part]:
        found = leaves(y)
        missing = [name for name in self.actions if as_tensor(found.get(name)) is None]
        if missing:
            raise ShapeError(
                expected=f"tensors at {sorted(self.actions)}, one per declared action",
                got=f"{ {name: type(leaf).__name__ for name, leaf in found.items()} }",
                argument="act_in or act_out",
                advice="The tree of actions must have the structure of what it acts on.",
            )
        return {name: Part(self._checked(name, found[name])) for name in self.actions}

    def items(self, x: Any) -> int:
        counts = {name: part.tensor.shape[0] for name, part in self.parts(x).items()}
        if len(set(counts.values())) != 1:
            raise ShapeError(
                expected="one number of items along the first axis of all moved tensors",
                got=str(counts),
                argument="x",
                advice="For nodes of several graphs in one array use GraphMotion.",
            )
        return int(next(iter(counts.values())))

    def mask(self, g: Matrix, name: str) -> Tensor | None:
        action = self.actions[name]
        known = getattr(action, "mask", None)
        if known is None:
            return None
        inside: Tensor = known(g, self.margin_px)
        return inside.unsqueeze(-action.event_dim)  # beside the channels

    def _move_leaf(self, g: Matrix, name: str, leaf: Any) -> Any:
        action, tensor = self.actions.get(name), as_tensor(leaf)
        if action is None or tensor is None:
            return leaf
        moved = move_tensor(action, g, self._checked(name, tensor))
        return of_kind(moved.reshape(tensor.shape), leaf)

    def _checked(self, name: str, value: Any) -> Tensor:
        """The tensor with its vectors along the last axis: (items,) and (items, 3, 3) fit too."""
        action, leaf = self.actions[name], as_tensor(value)
        if leaf is None:  # refused before
            raise TypeError(name)
        if leaf.ndim > 0 and action.event_dim == 1 and leaf.is_floating_point():
            one = math.prod(leaf.shape[1:])
            if one == action.dim and (leaf.ndim == 1 or leaf.shape[-1] != action.dim):
                return leaf.reshape(leaf.shape[0], action.dim)
        if leaf.ndim <= action.event_dim or not leaf.is_floating_point():
            raise ShapeError(
                expected=f"a batch of floating-point inputs with {action.event_dim} axes each for "
                f"{type(action).__name__}",
                got=f"shape {tuple(leaf.shape)}, {leaf.dtype}",
                argument=name or "x",
                advice="Put a batch axis in front: x.unsqueeze(0).",
            )
        return leaf


class FunctionMotion(Motion):
    """An action given as a function.

    Args:
        function: (g, x) ↦ g·x.
        group: The group.
        batched: Whether the function takes g of shape (items, n, n); else it gets (n, n).

    Example:
        >>> from equivariant.groups import SO2
        >>> motion = FunctionMotion(lambda g, x: x @ g.mT, SO2())
        >>> motion.move(torch.eye(2), torch.ones(4, 2)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self, function: Callable[[Tensor, Any], Any], group: Group, *, batched: bool = False
    ) -> None:
        super().__init__(group, batched=batched)
        self.function = function

    def move(self, g: Matrix, x: Any) -> Any:
        tensor = next(iter(self.parts(x).values())).tensor
        return self.function(g.to(tensor), x)

    def parts(self, y: Any) -> dict[str, Part]:
        found = {
            name: Part(leaf)
            for name, value in leaves(y).items()
            if (leaf := as_tensor(value)) is not None and leaf.is_floating_point() and leaf.ndim > 0
        }
        if not found:
            raise ShapeError(
                expected="at least one floating-point tensor with a batch axis",
                got=type(y).__name__,
                argument="x",
                advice="A function moves trees of tensors.",
            )
        return found

    def items(self, x: Any) -> int:
        return int(next(iter(self.parts(x).values())).tensor.shape[0])


class Substituted(Motion):
    """Another motion with other elements in place of those that it is given.

    Args:
        motion: The motion.
        change: Elements ↦ elements, both of shape (..., n, n).

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO2
        >>> still = Substituted(as_motion(Vectors(SO2())), lambda g: torch.eye(2).expand_as(g))
        >>> still.move(SO2().exp(torch.ones(1, 1)), torch.tensor([[1.0, 0.0]]))
        tensor([[1., 0.]])
    """

    def __init__(self, motion: Motion, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(motion.group, batched=motion.batched)
        self.motion, self.change = motion, change

    def move(self, g: Matrix, x: Any) -> Any:
        return self.motion.move(self.change(g), x)

    def parts(self, y: Any) -> dict[str, Part]:
        return self.motion.parts(y)

    def items(self, x: Any) -> int:
        return self.motion.items(x)

    def mask(self, g: Matrix, name: str) -> Tensor | None:
        return self.motion.mask(self.change(g), name)


def as_motion(action: Any, group: Group | None = None) -> Motion:
    """A motion from an action, a tree of actions, a function, or a motion.

    Args:
        action: What moves.
        group: The group, needed for a function only.

    Raises:
        ConventionError: A function comes without its group.
    """
    if isinstance(action, Motion):
        return action
    if callable(action) and not isinstance(action, Action):
        if group is None:
            raise ConventionError(
                expected="the group of an action that is a plain function",
                got="none",
                argument="group",
                advice="Pass group=SO3(), or FunctionMotion(function, group).",
            )
        return FunctionMotion(action, group)
    return TreeMotion(action)


def move_tensor(action: Action, g: Matrix, z: Tensor) -> Tensor:
    """g·z computed in float64, or wider if z is, and returned in the dtype of z.

    Args:
        action: The action, in float64.
        g: Elements, shape (items, n, n) or (n, n).
        z: Shape (items, ..., *event).
    """
    g = g.to(device=z.device, dtype=torch.float64)
    if g.ndim > 2:
        between = z.ndim - action.event_dim - 1
        g = g.reshape(g.shape[0], *(1,) * between, *g.shape[-2:])
    moved: Tensor = action(g, z.double())
    return moved.to(z.dtype)


def common_group(act_in: Motion, act_out: Motion) -> Group:
    """The one group of two motions.

    Raises:
        ConventionError: They have none, or two.
    """
    groups = [m.group for m in (act_in, act_out) if m.group is not None]
    if not groups or groups[0] != groups[-1]:
        raise ConventionError(
            expected="an action on the input and one on the output, of one group",
            got=f"{act_in.group} and {act_out.group}",
            argument="act_out",
            advice="Trivial(dim) fits every group.",
        )
    return groups[0]
