"""Channels × irreps: which irreps stand in a feature, how often, and where each number lies.

Everything that couples features of O(3) asks this one description: products, convolutions and
powers on the sphere, and force fields. Irreps and their names are e3nn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.nn.irreps import irreps_of, parse_irreps, sign_of
from equivariant.shapes import Float, Int

Layout = Literal["mul_ir", "ir_mul"]
"""Order of the numbers of a feature: block after block as in e3nn, or component after component."""


class IrrepsLayout:
    """How features of some irreps lie in memory: every irrep once, all with one multiplicity.

    A block (l, p) is true where p = (−1)^l, the parity of its harmonics, and pseudo elsewhere. The
    true blocks of a channel are the coefficients of a scalar function on the sphere, the pseudo
    blocks those of a pseudoscalar one.

    Args:
        irreps: For example ``"8x0e + 8x1o"``, in any order; entries of multiplicity 0 are dropped.
        argument: Name of the argument that they came in, for errors.
        layout: "mul_ir" is e3nn's: block after block, and channel after channel in it.
            "ir_mul" is component after component, and channels in it.

    Attributes:
        irreps: With multiplicities.
        each: Without.
        multiplicity: Number of channels.
        width: Numbers of one channel.
        dim: Numbers of a feature, width times multiplicity.
        parts: Sign, see :func:`sign_of`, and degree of each irrep.
        slices: Where each irrep stands among the numbers of one channel.

    Raises:
        ConventionError: An irrep stands twice, multiplicities differ, or the layout is unknown.

    Example:
        >>> layout = IrrepsLayout("8x0e + 8x1o")
        >>> layout.multiplicity, layout.width, layout.by_channel(torch.zeros(5, 32)).shape
        (8, 4, torch.Size([5, 8, 4]))
    """

    def __init__(
        self, irreps: str | Irreps, argument: str = "irreps", *, layout: Layout = "mul_ir"
    ) -> None:
        check_option(layout, ("mul_ir", "ir_mul"), "layout")
        parsed = parse_irreps(irreps, argument)
        self.irreps = Irreps([(count, irrep) for count, irrep in parsed if count])
        self.each = irreps_of(self.irreps)
        counts = {count for count, _ in self.irreps}
        if not self.each or len(set(self.each)) < len(self.each) or len(counts) > 1:
            raise ConventionError(
                expected="each irrep once, with equal multiplicities of at least 1",
                got=repr(str(parsed)),
                argument=argument,
                advice="Bring features to that form by e3nn.o3.Linear; channels meet one to one.",
            )
        self.layout: Layout = layout
        self.multiplicity = int(self.irreps[0].mul)
        self.parts = tuple((sign_of(irrep), int(irrep.l)) for irrep in self.each)
        self._widths = [2 * degree + 1 for _, degree in self.parts]
        self._largest = {
            sign: max((n for part, n in self.parts if part == sign), default=-1) for sign in (1, -1)
        }
        ends = accumulate(self._widths, initial=0)
        self.slices = [slice(start, stop) for start, stop in pairwise(ends)]
        self.width = sum(self._widths)
        self.dim = self.width * self.multiplicity
        # One irrep or one channel has no blocks to bring together.
        self._whole = len(self.each) == 1 or self.multiplicity == 1

    def degree(self, sign: int) -> int:
        """Largest degree of the true (1) or pseudo (−1) part; −1 where it is absent."""
        return self._largest[sign]

    @property
    def is_one_function(self) -> bool:
        """Whether a channel holds all coefficients of one function on the sphere, in order."""
        signs = {sign for sign, _ in self.parts}
        return len(signs) == 1 and [n for _, n in self.parts] == list(range(len(self.parts)))

    def owner(self) -> Int[Tensor, " width"]:
        """Which irrep each number of a channel belongs to, shape (width,), int64."""
        numbers = [torch.full((w,), n, device="cpu") for n, w in enumerate(self._widths)]
        return torch.cat(numbers)

    def positions(self) -> Int[Tensor, " width"]:
        """Which harmonic each number of a channel belongs to, l² + l + m, shape (width,), int64."""
        degrees = [degree for _, degree in self.parts]
        return torch.cat([torch.arange(n**2, (n + 1) ** 2, device="cpu") for n in degrees])

    def weight_index(self) -> Int[Tensor, " dim"]:
        """Which of one weight per irrep and channel each number of a feature takes, shape (dim,).

        Example:
            >>> IrrepsLayout("2x0e + 2x1o").weight_index().tolist()
            [0, 1, 2, 2, 2, 3, 3, 3]
        """
        count = len(self.each) * self.multiplicity
        table = torch.arange(count, device="cpu").view(-1, self.multiplicity)
        return self.from_components(table.index_select(0, self.owner()).double()).long()

    def by_channel(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... channels width"]:
        """Features by channel, each with all its components side by side.

        Args:
            x: Shape (..., dim).

        Returns:
            Shape (..., multiplicity, width), contiguous.
        """
        if self.layout == "ir_mul" or self._whole:
            return self._as_one_block(x).contiguous()
        return torch.cat(self._blocks(x), -1)

    def by_component(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... width channels"]:
        """Features by component, each with all channels side by side.

        Args:
            x: Shape (..., dim).

        Returns:
            Shape (..., width, multiplicity), contiguous.
        """
        if self.layout == "ir_mul" or self._whole:
            return self._as_one_block(x).mT.contiguous()
        return torch.cat([block.mT for block in self._blocks(x)], -2)

    def from_channels(
        self, values: Float[Tensor, "... channels width"]
    ) -> Float[Tensor, "... dim"]:
        """Undo :meth:`by_channel`.

        Args:
            values: Shape (..., multiplicity, width).

        Returns:
            Shape (..., dim).
        """
        if self.layout == "ir_mul":
            return values.mT.flatten(-2)
        if self._whole:
            return values.flatten(-2)
        return torch.cat([part.flatten(-2) for part in values.split(self._widths, -1)], -1)

    def from_components(
        self, values: Float[Tensor, "... width channels"]
    ) -> Float[Tensor, "... dim"]:
        """Undo :meth:`by_component`.

        Args:
            values: Shape (..., width, multiplicity).

        Returns:
            Shape (..., dim).
        """
        if self.layout == "ir_mul":
            return values.flatten(-2)
        if self._whole:
            return values.mT.flatten(-2)
        return torch.cat([part.mT.flatten(-2) for part in values.split(self._widths, -2)], -1)

    def by_irrep(self, x: Float[Tensor, "... dim"]) -> dict[Irrep, Tensor]:
        """Features by irrep, each of shape (..., multiplicity, 2l+1).

        Args:
            x: Shape (..., dim).
        """
        return dict(zip(self.each, self._blocks(x), strict=True))

    def functions(self, x: Float[Tensor, "... dim"]) -> dict[int, Tensor]:
        """Coefficients of the true (1) and the pseudo (−1) function of every channel.

        Args:
            x: Shape (..., dim).

        Returns:
            Shape (..., multiplicity, (L+1)²) for each sign that is there, with L its largest
            degree; absent degrees are 0.
        """
        if self.layout == "ir_mul" and self.is_one_function:
            return {self.parts[0][0]: self._as_one_block(x)}
        present = dict(zip(self.parts, self._blocks(x), strict=True))
        found = {}
        for sign in sorted({sign for sign, _ in self.parts}):
            blocks = [
                present[sign, n]
                if (sign, n) in present
                else x.new_zeros(*x.shape[:-1], self.multiplicity, 2 * n + 1)
                for n in range(self.degree(sign) + 1)
            ]
            found[sign] = torch.cat(blocks, -1)
        return found

    def from_functions(self, functions: Mapping[int, Tensor]) -> Float[Tensor, "... dim"]:
        """The inverse of :meth:`functions`, for functions that reach at least as far.

        Args:
            functions: Shape (..., multiplicity, (L+1)²) for each sign.

        Returns:
            Shape (..., dim).
        """
        if self.layout == "ir_mul":
            columns = {sign: function.mT for sign, function in functions.items()}
            if self.is_one_function:
                return columns[self.parts[0][0]][..., : self.width, :].flatten(-2)
            rows = [columns[sign][..., n**2 : (n + 1) ** 2, :] for sign, n in self.parts]
            return torch.cat(rows, -2).flatten(-2)
        blocks = [functions[sign][..., n**2 : (n + 1) ** 2] for sign, n in self.parts]
        return torch.cat([block.flatten(-2) for block in blocks], -1)

    def function(
        self, values: Float[Tensor, "... channels width"], sign: int, degree: int
    ) -> Float[Tensor, "... channels coefficients"]:
        """The true or the pseudo function of features by channel; absent degrees are 0.

        Args:
            values: Shape (..., multiplicity, width), from :meth:`by_channel`.
            sign: 1 for the true part, −1 for the pseudo part.
            degree: Largest degree of the result, at least that of the part.

        Returns:
            Shape (..., multiplicity, (degree+1)²).
        """
        if self.parts == tuple((sign, n) for n in range(degree + 1)):
            return values
        present = {
            n: values[..., rows]
            for (part, n), rows in zip(self.parts, self.slices, strict=True)
            if part == sign
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
                advice="Features are coefficients of real harmonics; convert them by .float().",
            )
        if x.dim() == 0 or x.shape[-1] != self.dim:
            raise ShapeError(
                expected=f"(..., {self.dim}) for {self.irreps}",
                got=str(tuple(x.shape)),
                argument=argument,
                advice="All copies of the first irrep come first, then those of the next."
                if self.layout == "mul_ir"
                else "All channels of the first component come first, then those of the next.",
            )

    def check_channels(self, multiplicity: int, argument: str, of: str = "irreps_in") -> None:
        """Refuse another number of channels than that of an input.

        Args:
            multiplicity: Of the input.
            argument: Name of the argument that these irreps came in.
            of: Name of the input's irreps.

        Raises:
            ConventionError: The numbers differ.

        Example:
            >>> IrrepsLayout("8x1o").check_channels(8, "irreps_out")
        """
        if self.multiplicity != multiplicity:
            raise ConventionError(
                expected=f"multiplicity {multiplicity}, that of {of}",
                got=str(self.irreps),
                argument=argument,
                advice="Channels stay apart; change their number by e3nn.o3.Linear.",
            )

    def _as_one_block(self, x: Tensor) -> Tensor:
        """Features that need no block moved, as a view of shape (..., multiplicity, width)."""
        block: Tensor
        if self.layout == "ir_mul":
            block = x.unflatten(-1, (self.width, self.multiplicity)).mT
        else:
            block = x.unflatten(-1, (self.multiplicity, self.width))
        return block

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """The block of each irrep, shape (..., multiplicity, 2l+1)."""
        widths = self._widths
        if self.layout == "ir_mul":
            rows = x.unflatten(-1, (self.width, self.multiplicity)).split(widths, -2)
            return [part.mT for part in rows]
        blocks = x.split([width * self.multiplicity for width in widths], -1)
        return [
            block.unflatten(-1, (self.multiplicity, width))
            for block, width in zip(blocks, widths, strict=True)
        ]
