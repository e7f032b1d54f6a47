"""Features of O(3) as channels of components, and as functions on the sphere."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt.paths import irreps_of, parse_irreps
from equivariant.shapes import Float

Layout = Literal["mul_ir", "ir_mul"]


def sign_of(irrep: Irrep) -> int:
    """Whether an irrep has the parity of its harmonics.

    Args:
        irrep: Degree and parity.

    Returns:
        1 for a true irrep, p = (−1)^l, and −1 for a pseudo one.

    Example:
        >>> sign_of(Irrep("1o")), sign_of(Irrep("1e"))
        (1, -1)
    """
    return 1 if (irrep.p == 1) == (irrep.l % 2 == 0) else -1


class Blocks:
    """How features of some irreps lie in memory: every irrep once, all with one multiplicity.

    Args:
        irreps: For example ``"8x0e + 8x1o"``, in any order.
        argument: Name of the argument that they came in.
        layout: "mul_ir" is e3nn's: block after block, and channel after channel in it.
            "ir_mul" is component after component, and channels in it.

    Raises:
        ConventionError: An irrep stands twice, multiplicities differ, or the layout is unknown.

    Example:
        >>> blocks = Blocks("8x0e + 8x1o", "irreps")
        >>> blocks.multiplicity, blocks.width, blocks.split(torch.zeros(5, 32)).shape
        (8, 4, torch.Size([5, 8, 4]))
    """

    def __init__(self, irreps: str | Irreps, argument: str, *, layout: Layout = "mul_ir") -> None:
        check_option(layout, ("mul_ir", "ir_mul"), "layout")
        parsed = parse_irreps(irreps, argument)
        kept = Irreps([(count, irrep) for count, irrep in parsed if count])
        self.each = irreps_of(kept)
        if not self.each or len(set(self.each)) < len(kept) or len({n for n, _ in kept}) > 1:
            raise ConventionError(
                expected="each irrep once, with equal multiplicities of at least 1",
                got=repr(str(parsed)),
                argument=argument,
                advice="Bring features to that form by e3nn.o3.Linear.",
            )
        self.irreps = kept
        self.layout: Layout = layout
        self.multiplicity = int(kept[0].mul)
        self.width = sum(irrep.dim for irrep in self.each)

    @property
    def slices(self) -> list[slice]:
        """Where each irrep stands among the components of one channel."""
        ends = accumulate((irrep.dim for irrep in self.each), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    @property
    def owner(self) -> Tensor:
        """Which irrep each component of one channel belongs to, shape (width,), int64."""
        counts = torch.tensor([irrep.dim for irrep in self.each], device="cpu")
        return torch.arange(len(self.each), device="cpu").repeat_interleave(counts)

    @property
    def positions(self) -> Tensor:
        """Entry l² + l + m of each component among harmonics, shape (width,), int64."""
        return torch.cat([torch.arange(n.l**2, (n.l + 1) ** 2, device="cpu") for n in self.each])

    def degree(self, sign: int) -> int:
        """Largest degree of the true (1) or pseudo (−1) part; −1 where it is absent."""
        return max((irrep.l for irrep in self.each if sign_of(irrep) == sign), default=-1)

    def split(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... channels width"]:
        """Features by channel and component.

        Args:
            x: Shape (..., irreps.dim).

        Returns:
            Shape (..., multiplicity, width); for "ir_mul" a view.
        """
        if self.layout == "ir_mul":
            components: Tensor = x.unflatten(-1, (self.width, self.multiplicity))
            return components.transpose(-1, -2)
        parts = x.split([self.multiplicity * irrep.dim for irrep in self.each], -1)
        columns = [part.unflatten(-1, (self.multiplicity, -1)) for part in parts]
        return torch.cat(columns, -1) if len(columns) > 1 else columns[0]

    def join(self, values: Float[Tensor, "... channels width"]) -> Float[Tensor, "... dim"]:
        """Undo :meth:`split`.

        Args:
            values: Shape (..., multiplicity, width).

        Returns:
            Shape (..., irreps.dim).
        """
        if self.layout == "ir_mul":
            return values.transpose(-1, -2).flatten(-2)
        parts = values.split([irrep.dim for irrep in self.each], -1)
        flat = [part.flatten(-2) for part in parts]
        return torch.cat(flat, -1) if len(flat) > 1 else flat[0]

    def signal(
        self, values: Float[Tensor, "... channels width"], sign: int, degree: int
    ) -> Float[Tensor, "... channels coefficients"]:
        """Coefficients of the true or the pseudo function; absent degrees are 0.

        Args:
            values: Shape (..., multiplicity, width).
            sign: 1 for the true part, −1 for the pseudo part.
            degree: Largest degree of the result, at least that of the part.

        Returns:
            Shape (..., multiplicity, (degree+1)²).
        """
        present = {
            irrep.l: values[..., rows]
            for irrep, rows in zip(self.each, self.slices, strict=True)
            if sign_of(irrep) == sign
        }
        columns = [
            present[n] if n in present else values.new_zeros(*values.shape[:-1], 2 * n + 1)
            for n in range(degree + 1)
        ]
        return torch.cat(columns, -1)

    def check(self, x: Tensor, argument: str) -> None:
        """Refuse features of another width or that are not real floating point numbers.

        Args:
            x: Features.
            argument: Name of the argument that they came in.

        Raises:
            ShapeError: The last axis is not that of the irreps.
            ConventionError: They are not floating point.
        """
        if not x.is_floating_point():
            raise ConventionError(
                expected="real floating point numbers",
                got=str(x.dtype),
                argument=argument,
                advice="Features are coefficients of real harmonics.",
            )
        if x.dim() == 0 or x.shape[-1] != self.irreps.dim:
            raise ShapeError(
                expected=f"(..., {self.irreps.dim}) for {self.irreps}",
                got=str(tuple(x.shape)),
                argument=argument,
                advice=f"The layout is {self.layout}.",
            )


def check_option(value: object, allowed: tuple[str, ...], argument: str) -> None:
    """Refuse a word that is none of those allowed.

    Args:
        value: The word.
        allowed: Those allowed.
        argument: Name of the argument that it came in.

    Raises:
        ConventionError: It is none of them.

    Example:
        >>> check_option("even", ("even", "full"), "parity")
    """
    if value not in allowed:
        raise ConventionError(
            expected=" or ".join(allowed),
            got=repr(value),
            argument=argument,
            advice="Choose one of them.",
        )


def check_equal_channels(blocks: Blocks, multiplicity: int, argument: str) -> None:
    """Refuse another number of channels than that of the input.

    Args:
        blocks: Of the argument.
        multiplicity: Of the input.
        argument: Its name.

    Raises:
        ConventionError: The numbers differ.

    Example:
        >>> check_equal_channels(Blocks("8x1o", "irreps_out"), 8, "irreps_out")
    """
    if blocks.multiplicity != multiplicity:
        raise ConventionError(
            expected=f"multiplicity {multiplicity}, that of irreps_in",
            got=str(blocks.irreps),
            argument=argument,
            advice="Channels stay apart; change their number by e3nn.o3.Linear.",
        )
