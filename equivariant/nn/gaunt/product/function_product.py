"""The product of two features as products of functions on the sphere, at most eight of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from equivariant.nn.gaunt.methods.registry import Method
from equivariant.nn.gaunt.product.irreps_terms import IrrepsProduct
from equivariant.nn.gaunt.product.path_norm import degree_factors
from equivariant.nn.gaunt.product.product import gaunt_product
from equivariant.nn.irreps_layout import IrrepsLayout


class FunctionProduct:
    """True and pseudo functions of both operands multiplied with one another, and added up.

    Args:
        product: Which couplings.
        layouts: Of both operands and of the result.

    Example:
        >>> from e3nn.o3 import Irreps
        >>> both = Irreps("0e + 1o")
        >>> product = IrrepsProduct(both, both, Irreps("2e"), "even", "integral", "none")
        >>> layouts = [IrrepsLayout(text) for text in ("3x0e + 3x1o", "3x0e + 3x1o", "3x2e")]
        >>> FunctionProduct(product, layouts)(torch.ones(12), torch.ones(12), "grid").shape
        torch.Size([15])
    """

    def __init__(self, product: IrrepsProduct, layouts: Sequence[IrrepsLayout]) -> None:
        self.layouts = tuple(layouts)
        self.kinds = product.kinds
        self.normalization = product.normalization
        self.factors = {
            kind: None
            if product.path_norm == "none"
            else degree_factors(
                *product.degrees,
                kind=kind,
                normalization=product.normalization,
                path_norm=product.path_norm,
            )
            for kind in product.kinds
        }

    def __call__(self, x1: Tensor, x2: Tensor, method: Method) -> Tensor:
        """Multiply two features.

        Args:
            x1: Shape (..., length of the first operand).
            x2: Shape (..., length of the second).
            method: See :func:`gaunt_product`.

        Returns:
            Shape (..., length of the result).
        """
        firsts, seconds = self.layouts[0].functions(x1), self.layouts[1].functions(x2)
        sums: dict[int, Tensor] = {}
        for kind in self.kinds:
            factors = self.factors[kind] or (None, None, None)
            for sign1, first in firsts.items():
                for sign2, second in seconds.items():
                    sign = sign1 * sign2 * (1 if kind == "even" else -1)
                    largest = self.layouts[2].degree(sign)
                    if largest < 0:
                        continue
                    result = gaunt_product(
                        _scaled(first, factors[0]),
                        _scaled(second, factors[1]),
                        _degree(first),
                        _degree(second),
                        largest,
                        normalization=self.normalization,
                        kind=kind,
                        method=method,
                    )
                    result = _scaled(result, factors[2])
                    sums[sign] = sums[sign] + result if sign in sums else result
        return self.layouts[2].from_functions(sums)


def _scaled(function: Tensor, factor: tuple[float, ...] | None) -> Tensor:
    """Coefficients times a factor per degree."""
    if factor is None:
        return function
    each = [value for degree, value in enumerate(factor) for _ in range(2 * degree + 1)]
    numbers = each[: function.shape[-1]]
    return function * torch.tensor(numbers, dtype=function.dtype, device=function.device)


def _degree(function: Tensor) -> int:
    return math.isqrt(int(function.shape[-1])) - 1
