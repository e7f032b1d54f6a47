"""Tests that other packages inherit: contracts of groups and actions, and assertions.

Needs pytest alone. A new group, action or model is tested by a subclass of a few lines.
"""

from equivariant.testing.assertions import assert_equivariant
from equivariant.testing.contracts import ActionContract, GroupContract
from equivariant.testing.group_law import assert_group_law
from equivariant.testing.model_contract import ModelContract

__all__ = [
    "ActionContract",
    "GroupContract",
    "ModelContract",
    "assert_equivariant",
    "assert_group_law",
]
