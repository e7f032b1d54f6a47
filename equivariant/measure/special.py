"""Elements at which errors hide: the identity, half turns, the inversion, the reversal."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.groups import O3, Group, Product, Torus


def special_elements(group: Group, *, law: object = None) -> dict[str, Tensor]:
    """Named elements, each (n, n), float64.

    Args:
        group: The group.
        law: A law of the user's: then only the identity is added, since others may not belong.

    Example:
        >>> from equivariant.groups import SO3
        >>> list(special_elements(SO3()))
        ['identity', 'half turn 0', 'half turn 1', 'half turn 2']
    """
    identity = group.identity()
    found = {"identity": identity}
    if law is not None:
        return found
    if group.compact and group.dim and not isinstance(group, Product | Torus):
        turns = torch.pi * torch.eye(group.dim, dtype=torch.float64)
        for k, turn in enumerate(turns):
            found[f"half turn {k}"] = group.exp(turn)
    if isinstance(group, O3):
        found["inversion"] = -identity
    return found
