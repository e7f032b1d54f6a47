"""Products of functions on the sphere: bilinear maps between features of O(3)."""

from equivariant.nn.gaunt.coefficients import (
    gaunt_coefficients,
    gaunt_constant,
    poisson_coefficients,
    poisson_constant,
)
from equivariant.nn.gaunt.convolution import GauntConvolution
from equivariant.nn.gaunt.directions import DirectionHarmonics
from equivariant.nn.gaunt.layer import GauntTensorProduct
from equivariant.nn.gaunt.paths import ExpressivityReport, Path, expressivity_report
from equivariant.nn.gaunt.power import GauntPower
from equivariant.nn.gaunt.product import benchmark_methods, gaunt_product
from equivariant.nn.gaunt.self_mix import GauntSelfMix
from equivariant.nn.gaunt.signal import from_signal, to_signal
from equivariant.nn.gaunt.tables import degree_scales, real_harmonics, sphere_grid
from equivariant.nn.gaunt.warm_up import warm_up

__all__ = [
    "DirectionHarmonics",
    "ExpressivityReport",
    "GauntConvolution",
    "GauntPower",
    "GauntSelfMix",
    "GauntTensorProduct",
    "Path",
    "benchmark_methods",
    "degree_scales",
    "expressivity_report",
    "from_signal",
    "gaunt_coefficients",
    "gaunt_constant",
    "gaunt_product",
    "poisson_coefficients",
    "poisson_constant",
    "real_harmonics",
    "sphere_grid",
    "to_signal",
    "warm_up",
]
