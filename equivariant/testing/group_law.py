"""An assertion about actions."""

from __future__ import annotations

from typing import Any

import torch

from equivariant.groups import Group
from equivariant.measure import GroupLawError, group_law_error
from equivariant.tree import tensors


def assert_group_law(
    action: Any,
    z: Any,
    *,
    group: Group | None = None,
    tolerance: float | None = None,
    samples: int = 16,
    seed: int = 0,
) -> GroupLawError:
    """Fail unless an action composes as its group does.

    Args:
        action: An action, a tree of actions, a function with ``group``, or a motion.
        z: What it acts on, with a batch axis in front.
        group: The group, where the action is a plain function or defined for every group.
        tolerance: Largest relative error of composition, identity and inverse; None takes 1e-9
            for float64, 1e-3 for float32, 1e-2 for less.
        samples: Random pairs of elements.
        seed: Of the elements.

    Returns:
        The errors.

    Raises:
        AssertionError: An error exceeds the tolerance.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> z = torch.randn(4, 3, dtype=torch.float64)
        >>> assert_group_law(Vectors(SO3()), z).worst < 1e-9
        True
        >>> assert_group_law(lambda g, z: z @ g, z, group=SO3())
        Traceback (most recent call last):
        ...
        AssertionError: not an action of SO3(): composition ... (it multiplies the other way round)
    """
    generator = torch.Generator().manual_seed(seed)
    found = group_law_error(action, z, group=group, samples=samples, generator=generator)
    limits = {torch.float64: 1e-9, torch.float32: 1e-3}
    kinds = [leaf.dtype for leaf in tensors(z).values() if leaf.is_floating_point()]
    limit = max(limits.get(kind, 1e-2) for kind in kinds) if tolerance is None else tolerance
    if not found.worst <= limit:
        turned = " (it multiplies the other way round)" if found.reversed.max() <= limit else ""
        named = group or getattr(action, "group", None)
        raise AssertionError(f"not an action of {named}: {found}; tolerance {limit:.0e}{turned}")
    return found
