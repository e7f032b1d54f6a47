"""Modules that declare how they transform: their own declaration is what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e3nn.o3 import Irreps

from equivariant.actions import IrrepsAction
from equivariant.errors import ConventionError
from equivariant.groups import O3, Sampler
from equivariant.measure.escnn_modules import EscnnMotion, takes_tensors

_NAMES = (  # of the inputs and, last, of the output
    ("irreps_in1", "irreps_in2", "irreps_out"),
    ("irreps_in", "irreps_out"),
    ("irreps", "irreps"),
)


@dataclass(frozen=True)
class Declared:
    """A module's own declaration.

    Args:
        f: The map on plain tensors.
        act_in: Action on its input, or a tuple of them.
        act_out: Action on its output.
        law: Elements that it is about; None for the group's own law.
        widths: Sizes of the last axis (e3nn) or of the channels (escnn) of each input.
    """

    f: Callable[..., Any]
    act_in: Any
    act_out: Any
    law: Sampler | None
    widths: tuple[int, ...]


def declared(module: Any) -> Declared:
    """The actions that a module of e3nn or escnn declares.

    e3nn: ``irreps_in`` (or ``irreps_in1``, ``irreps_in2``) and ``irreps_out``, or ``irreps`` for
    both, under O(3).
    escnn: ``in_type`` and ``out_type``, under their group: SO(2), C_N, SO(3) or O(3).

    Args:
        module: A ``torch.nn.Module`` of either library.

    Returns:
        What ``equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, law=d.law)`` needs.

    Raises:
        ConventionError: The module declares nothing, or a group that is not among these.

    Example:
        >>> from e3nn import o3
        >>> d = declared(o3.Linear("8x0e + 2x1o", "4x1o"))
        >>> d.act_in.dim, d.act_out.dim, d.widths
        (14, 12, (14,))
    """
    if hasattr(module, "in_type") and hasattr(module, "out_type"):
        act_in, act_out = EscnnMotion(module.in_type), EscnnMotion(module.out_type)
        return Declared(
            takes_tensors(module), act_in, act_out, act_in.law(), (int(module.in_type.size),)
        )
    names = next((n for n in _NAMES if all(hasattr(module, name) for name in n)), ())
    if not names:
        raise ConventionError(
            expected="a module with irreps_in and irreps_out (e3nn), or in_type and out_type "
            "(escnn)",
            got=type(module).__name__,
            argument="module",
            advice="Say how it transforms: equivariance_error(f, x, act_in=..., act_out=...).",
        )
    *inputs, output = (IrrepsAction(Irreps(getattr(module, name)), O3()) for name in names)
    actions = tuple(inputs)
    return Declared(
        module,
        actions[0] if len(actions) == 1 else actions,
        output,
        None,
        tuple(action.dim for action in actions),
    )
