"""Null spaces of the conditions on an equivariant map."""

from equivariant.actions.null_spaces.memory import check_memory
from equivariant.actions.null_spaces.solve import null_space

__all__ = ["check_memory", "null_space"]
