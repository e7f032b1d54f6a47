"""What is refused where sides come in: names that nothing reads, tensors on several devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.contrast.sides import Side


def check_all_are_read(given: Sequence[str], known: Sequence[str] | None) -> None:
    """Refuse sides that no term and no step reads.

    Args:
        given: Names of the sides that came.
        known: Names that are read; None where that cannot be told, since a term of another kind
            may read any.

    Raises:
        ConventionError: One of them is read by nothing.
    """
    unread = [] if known is None else [name for name in given if name not in known]
    if unread:
        near = get_close_matches(unread[0], known or (), 1)
        raise ConventionError(
            expected=f"sides among {', '.join(known or ()) or 'none'}",
            got=", ".join(unread),
            argument=unread[0],
            advice=f"Did you mean {near[0]}?" if near else "Nothing reads it: leave it out.",
        )


def check_one_device(sides: Mapping[str, Side], trained: Sequence[Tensor]) -> None:
    """Refuse sides, or what their rows know, on several devices.

    Args:
        sides: Sides by name.
        trained: Parameters of the objective; single numbers may be anywhere.

    Raises:
        ConventionError: Two of them are on different devices.
    """
    found = {
        (name if key is None else f"{name}.{key}"): tensor.device
        for name, side in sides.items()
        for key, tensor in ((None, side.z), *side.names().items())
        if key != "index"
    }
    for parameter in trained:
        if parameter.ndim:
            found["the objective's parameters"] = parameter.device
    if len(set(found.values())) > 1:
        first = next(iter(found))
        other = next(name for name, device in found.items() if device != found[first])
        raise ConventionError(
            expected=f"all on one device, {found[first]} as {first}",
            got=f"{other} on {found[other]}",
            argument=other,
            advice="Move sides, labels and the objective to one device with .to(...).",
        )
