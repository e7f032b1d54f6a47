"""Multilinear forms: what products need to know of them, and how they are found by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Needs = Sequence[bool]


class MultilinearForm(ABC):
    """A real number that is linear in each of several operands, entry by entry of a batch."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells this form from others, for compiled graphs."""

    @abstractmethod
    def length(self, slot: int) -> int:
        """Numbers in a row of one operand.

        Args:
            slot: Which operand, from 0.

        Returns:
            Size of the last axis.
        """

    @abstractmethod
    def derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """Gradient by one operand, given the others in their order.

        Args:
            slot: Which operand, from 0.
            operands: The others, whose leading axes broadcast.

        Returns:
            A new tensor with the leading axes broadcast together.
        """

    @abstractmethod
    def gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """Gradients of ⟨derivative(slot, operands), cotangent⟩ by the operands.

        Args:
            slot: As for ``derivative``.
            operands: As for ``derivative``.
            cotangent: Of the shape of the derivative.
            needs: Which gradients are asked for.

        Returns:
            One for each operand, of its shape or with leading axes still to be summed; None
            where not asked for.
        """


class FormInSinglePrecision(MultilinearForm):
    """A form whose half-precision operands are computed with in float32, and rounded last."""

    @abstractmethod
    def full_derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """:meth:`derivative` of operands in float32 or float64."""

    @abstractmethod
    def full_gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """:meth:`gradients` of operands in float32 or float64."""

    def derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """Gradient by one operand, see :class:`MultilinearForm`."""
        dtype = operands[0].dtype
        if dtype in _HALF:
            return self.full_derivative(slot, [one.float() for one in operands]).to(dtype)
        return self.full_derivative(slot, operands)

    def gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """Gradients by the operands of a derivative, see :class:`MultilinearForm`."""
        dtype = cotangent.dtype
        if dtype not in _HALF:
            return self.full_gradients(slot, operands, cotangent, needs)
        single = [one.float() for one in operands]
        found = self.full_gradients(slot, single, cotangent.float(), needs)
        return [None if one is None else one.to(dtype) for one in found]


_HALF = (torch.float16, torch.bfloat16)
_named: dict[str, MultilinearForm] = {}
_makers: dict[str, Callable[[str], MultilinearForm]] = {}


def remember(form: MultilinearForm) -> None:
    """Make a form known by its name, as compiled graphs call it.

    Args:
        form: The form. Another one of the same name stays.
    """
    _named.setdefault(form.name, form)


def remember_maker(family: str, maker: Callable[[str], MultilinearForm]) -> None:
    """Make a family of forms known, whose names start with that of the family and a colon.

    Args:
        family: Its name.
        maker: Makes a form from the whole name.
    """
    _makers[family] = maker


def form_named(name: str) -> MultilinearForm:
    """The form of a name.

    Args:
        name: Of a form that was remembered, or of one of a family that was.

    Returns:
        The form.
    """
    if name not in _named:
        _named[name] = _makers[name.partition(":")[0]](name)
    return _named[name]


def swapped(
    slot: int, operands: Sequence[Tensor], gradient: Tensor
) -> list[tuple[int, list[Tensor]]]:
    """What each gradient of a derivative is a derivative of.

    Args:
        slot: Slot of the derivative.
        operands: All others in their order.
        gradient: Gradient by the derivative.

    Returns:
        For every operand its slot, and all the others with the gradient in ``slot``.
    """
    whole = [*operands[:slot], gradient, *operands[slot:]]
    return [
        (place, whole[:place] + whole[place + 1 :]) for place in range(len(whole)) if place != slot
    ]


def leading_axes(operands: Sequence[Tensor]) -> torch.Size:
    """All axes but the last, broadcast together.

    Args:
        operands: At least one, whose leading axes broadcast.

    Returns:
        The shape; where all are equal, at a hundredth of the cost of ``broadcast_shapes``.
    """
    first = operands[0].shape[:-1]
    if all(operand.shape[:-1] == first for operand in operands[1:]):
        return first
    lead: torch.Size = torch.broadcast_shapes(*(operand.shape[:-1] for operand in operands))
    return lead


def is_mapped(x: Tensor) -> bool:
    """Whether a tensor stands for a batch that operators do not see (``is_grads_batched``).

    Args:
        x: Any.

    Returns:
        True where operators see one entry and are called for all of them.
    """
    return torch._C._functorch.is_legacy_batchedtensor(x)
