"""Features as functions on the sphere and back: one true and one pseudo function per channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.nn.gaunt.compiled.row_layout import Order
from equivariant.nn.gaunt.methods.registry import Method
from equivariant.nn.gaunt.paths import irreps_of
from equivariant.nn.gaunt.product.irreps_terms import IrrepsProduct, sign_of
from equivariant.nn.gaunt.product.path_norm import degree_factors
from equivariant.nn.gaunt.product.product import gaunt_product

Signals = dict[int, Tensor]


@dataclass(frozen=True)
class Blocks:
    """Which irreps stand in a feature, as plain numbers.

    Args:
        degrees: Degree of each irrep.
        signs: 1 for a true irrep, -1 for a pseudo one.
        channels: Multiplicity.
        order: See :class:`Layout`.

    Example:
        >>> blocks = Blocks.of(Irreps("0e + 1e"), 3, "mul_ir")
        >>> blocks.signs, blocks.plain
        ((1, -1), False)
        >>> {sign: tuple(x.shape) for sign, x in blocks.signals(torch.ones(2, 12)).items()}
        {-1: (2, 3, 4), 1: (2, 3, 1)}
    """

    degrees: tuple[int, ...]
    signs: tuple[int, ...]
    channels: int
    order: Order

    @classmethod
    def of(cls, irreps: Irreps, channels: int, order: Order) -> Blocks:
        """Of irreps, each of which stands once.

        Args:
            irreps: Without multiplicities.
            channels: Multiplicity.
            order: See :class:`Layout`.

        Returns:
            The numbers.
        """
        found = irreps_of(irreps)
        degrees = tuple(int(irrep.l) for irrep in found)
        return cls(degrees, tuple(sign_of(irrep) for irrep in found), channels, order)

    @property
    def plain(self) -> bool:
        """Whether the feature is one function whose coefficients stand in order."""
        return len(set(self.signs)) == 1 and self.degrees == tuple(range(len(self.degrees)))

    def largest(self, sign: int) -> int:
        """Largest degree of a sign, or -1.

        Args:
            sign: 1 or -1.

        Returns:
            The degree.
        """
        present = [n for n, own in zip(self.degrees, self.signs, strict=True) if own == sign]
        return max(present) if present else -1

    def signals(self, x: Tensor) -> Signals:
        """Coefficients of both functions, zeros where degrees are absent.

        Args:
            x: Features, shape (..., channels times the size of the irreps).

        Returns:
            Shape (..., channels, (L+1)²) for each sign that is there, with L its largest degree.
        """
        if self.order == "ir_mul" and self.plain:
            return {self.signs[0]: _columns(x, self.channels)}
        widths = [2 * degree + 1 for degree in self.degrees]
        blocks = x.split([width * self.channels for width in widths], -1)
        signals = {}
        for sign in sorted(set(self.signs)):
            parts = []
            for degree in range(self.largest(sign) + 1):
                places = [
                    place
                    for place, own in enumerate(zip(self.degrees, self.signs, strict=True))
                    if own == (degree, sign)
                ]
                shape = (2 * degree + 1, self.channels)
                if self.order == "mul_ir":
                    shape = shape[::-1]
                if places:
                    parts.append(blocks[places[0]].unflatten(-1, shape))
                else:
                    parts.append(x.new_zeros(*x.shape[:-1], *shape))
            whole = torch.cat(parts, -1 if self.order == "mul_ir" else -2)
            signals[sign] = whole if self.order == "mul_ir" else whole.mT
        return signals

    def features(self, signals: Signals) -> Tensor:
        """The inverse of :meth:`signals`, for signals that reach at least as far.

        Args:
            signals: Shape (..., channels, (L+1)²) for each sign.

        Returns:
            Features, shape (..., channels times the size of the irreps).
        """
        if self.order == "ir_mul":
            signals = {sign: signal.mT for sign, signal in signals.items()}
            if self.plain:
                return signals[self.signs[0]].flatten(-2)
        blocks = []
        for degree, sign in zip(self.degrees, self.signs, strict=True):
            signal, rows = signals[sign], slice(degree**2, (degree + 1) ** 2)
            block = signal[..., rows] if self.order == "mul_ir" else signal[..., rows, :]
            blocks.append(block.flatten(-2))
        return torch.cat(blocks, -1)


class SignalProduct:
    """The product of irreps by products of functions on the sphere, at most eight of them.

    Args:
        product: Which couplings.
        channels: Multiplicity of the first operand and of the result, and of the second operand.
        order: See :class:`Layout`.

    Example:
        >>> both = Irreps("0e + 1o")
        >>> product = IrrepsProduct(both, both, Irreps("2e"), "even", "integral", "none")
        >>> SignalProduct(product, (3, 3), "mul_ir")(torch.ones(12), torch.ones(12), "grid").shape
        torch.Size([15])
    """

    def __init__(self, product: IrrepsProduct, channels: tuple[int, int], order: Order) -> None:
        counts = (*channels, channels[0])
        self.blocks = [
            Blocks.of(irreps, count, order)
            for irreps, count in zip(product.operands, counts, strict=True)
        ]
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
        firsts, seconds = self.blocks[0].signals(x1), self.blocks[1].signals(x2)
        sums: Signals = {}
        for kind in self.kinds:
            factors = self.factors[kind] or (None, None, None)
            for sign1, first in firsts.items():
                for sign2, second in seconds.items():
                    sign = sign1 * sign2 * (1 if kind == "even" else -1)
                    largest = self.blocks[2].largest(sign)
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
        return self.blocks[2].features(sums)


def _columns(x: Tensor, channels: int) -> Tensor:
    columns: Tensor = x.unflatten(-1, (-1, channels))
    return columns.mT


def _scaled(signal: Tensor, factor: tuple[float, ...] | None) -> Tensor:
    """Coefficients times a factor per degree."""
    if factor is None:
        return signal
    each = [value for degree, value in enumerate(factor) for _ in range(2 * degree + 1)]
    numbers = each[: signal.shape[-1]]
    return signal * torch.tensor(numbers, dtype=signal.dtype, device=signal.device)


def _degree(signal: Tensor) -> int:
    return math.isqrt(int(signal.shape[-1])) - 1
