"""Elements that are looked at besides the drawn ones, because errors hide there."""

from __future__ import annotations

from torch import Tensor

from equivariant.groups import Group, Sampler


def special_elements(group: Group, *, law: Sampler | None = None) -> dict[str, Tensor]:
    """The identity, and what the law or the group names, each (n, n), float64.

    Args:
        group: The group: see :meth:`Group.special_elements`.
        law: Of the elements: those that belong to it, see :meth:`Sampler.special_elements`;
            None for all of the group.

    Example:
        >>> from equivariant.groups import SO3
        >>> list(special_elements(SO3()))
        ['identity', 'half turn 0', 'half turn 1', 'half turn 2']
    """
    return {"identity": group.identity(), **(law or group).special_elements()}
