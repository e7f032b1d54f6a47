"""Products of functions on the sphere: bilinear maps between features of O(3)."""

from equivariant.harmonics.coupling_coefficients import (
    gaunt_coefficients,
    gaunt_constant,
    poisson_coefficients,
    poisson_constant,
)
from equivariant.harmonics.real_harmonics import degree_scales, real_harmonics
from equivariant.harmonics.sphere_grid import sphere_grid
from equivariant.nn.gaunt.convolution.convolution import GauntConvolution
from equivariant.nn.gaunt.convolution.directions import DirectionHarmonics
from equivariant.nn.gaunt.paths import ExpressivityReport, Path, expressivity_report
from equivariant.nn.gaunt.power.power import GauntPower
from equivariant.nn.gaunt.product.layer import GauntTensorProduct
from equivariant.nn.gaunt.product.product import benchmark_methods, gaunt_product
from equivariant.nn.gaunt.product.self_mix import GauntSelfMix
from equivariant.nn.gaunt.sphere_values import from_signal, to_signal
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
