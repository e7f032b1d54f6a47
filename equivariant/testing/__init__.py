"""Tests that other packages inherit: contracts of groups and actions, and assertions.

Needs pytest alone. A new group, action, model or objective is tested by a subclass of a few lines.
"""

from equivariant.testing.assertions import assert_equivariant
from equivariant.testing.contracts import ActionContract, GroupContract
from equivariant.testing.group_law import assert_group_law
from equivariant.testing.model_contract import ModelContract
from equivariant.testing.objective_contract import ObjectiveContract

__all__ = [
    "ActionContract",
    "GroupContract",
    "ModelContract",
    "ObjectiveContract",
    "assert_equivariant",
    "assert_group_law",
]
