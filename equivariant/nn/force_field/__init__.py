"""Force fields: energies of molecules that are invariant, and forces as their gradient."""

from equivariant.nn.force_field.calibration import Calibration
from equivariant.nn.force_field.network import ForceField, ForceFieldConfig, ProductName
from equivariant.nn.force_field.radial_basis import RadialBasis

__all__ = ["Calibration", "ForceField", "ForceFieldConfig", "ProductName", "RadialBasis"]
