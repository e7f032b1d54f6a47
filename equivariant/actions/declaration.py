"""How a module says that it transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from equivariant.groups import Sampler


@dataclass(frozen=True)
class Declaration:
    """The actions under which a map is meant to be equivariant: f(g·x) = g·f(x).

    Args:
        act_in: Action on its input.
        act_out: Action on its output; ``Trivial(dim)`` declares invariance.
        law: The elements that the declaration is about; None for the group's own law.
    """

    act_in: Any
    act_out: Any
    law: Sampler | None = None


@runtime_checkable
class Declares(Protocol):
    """A module with a method that declares how it transforms.

    ``equivariance_error(module, x)`` then needs no actions.
    """

    def declaration(self, signal: Tensor) -> Declaration:
        """The declaration for inputs like a given one, of which only the shape is looked at.

        Args:
            signal: An input, shape (batch, ...).
        """
        ...
