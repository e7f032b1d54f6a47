"""Features of O(3) as channels of components, and as functions on the sphere."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.nn.gaunt.paths import irreps_of, parse_irreps
from equivariant.nn.tracing import makes_graph, real_tables
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


class Blocks(DerivedBuffers):
    """How features of some irreps lie in memory: every irrep once, all with one multiplicity.

    Args:
        irreps: For example ``"8x0e + 8x1o"``, in any order.
        argument: Name of the argument that they came in.
        layout: "mul_ir" is e3nn's: block after block, and channel after channel in it.
            "ir_mul" is component after component, and channels in it.

    Attributes:
        parts: Sign, see :func:`sign_of`, and degree of each irrep.

    Raises:
        ConventionError: An irrep stands twice, multiplicities differ, or the layout is unknown.

    Example:
        >>> blocks = Blocks("8x0e + 8x1o", "irreps")
        >>> blocks.multiplicity, blocks.width, blocks.by_channel(torch.zeros(5, 32)).shape
        (8, 4, torch.Size([5, 8, 4]))
    """

    owner: Tensor
    positions: Tensor
    channel_order: Tensor | None
    channel_inverse: Tensor | None
    component_order: Tensor | None
    component_inverse: Tensor | None

    def __init__(self, irreps: str | Irreps, argument: str, *, layout: Layout = "mul_ir") -> None:
        super().__init__()
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
        self.dim = self.width * self.multiplicity
        self.parts = tuple((sign_of(irrep), int(irrep.l)) for irrep in self.each)
        with real_tables():
            tables = self._tables()
        for name, table in tables.items():
            self.derive(name, table)

    def _tables(self) -> dict[str, Tensor | None]:
        """Where each component of each channel lies, and to which irrep and harmonic it belongs."""
        channels, each = self.multiplicity, self.each
        flat = torch.arange(channels * self.width)
        if self.layout == "ir_mul":
            places = flat.view(self.width, channels).T
        else:
            blocks = flat.split([channels * irrep.dim for irrep in each])
            places = torch.cat([block.view(channels, -1) for block in blocks], -1)
        tables: dict[str, Tensor | None] = {}
        for name, order in (("channel", places.flatten()), ("component", places.T.flatten())):
            moves = not torch.equal(order, flat)
            tables[f"{name}_order"] = order if moves else None
            tables[f"{name}_inverse"] = order.argsort() if moves else None
        owner = [torch.full((irrep.dim,), n) for n, irrep in enumerate(each)]
        rows = [torch.arange(n.l**2, (n.l + 1) ** 2) for n in each]
        return {**tables, "owner": torch.cat(owner), "positions": torch.cat(rows)}

    @property
    def slices(self) -> list[slice]:
        """Where each irrep stands among the components of one channel."""
        ends = accumulate((2 * degree + 1 for _, degree in self.parts), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def degree(self, sign: int) -> int:
        """Largest degree of the true (1) or pseudo (−1) part; −1 where it is absent."""
        return max([-1, *(degree for part, degree in self.parts if part == sign)])

    def by_channel(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... channels width"]:
        """Features by channel, each with all its components side by side.

        Args:
            x: Shape (..., irreps.dim).

        Returns:
            Shape (..., multiplicity, width).
        """
        x = _permuted(x, self.channel_order, self.channel_inverse)
        return x.view(*x.shape[:-1], self.multiplicity, self.width)

    def by_component(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... width channels"]:
        """Features by component, each with all channels side by side.

        Args:
            x: Shape (..., irreps.dim).

        Returns:
            Shape (..., width, multiplicity).
        """
        x = _permuted(x, self.component_order, self.component_inverse)
        return x.view(*x.shape[:-1], self.width, self.multiplicity)

    def from_channels(
        self, values: Float[Tensor, "... channels width"]
    ) -> Float[Tensor, "... dim"]:
        """Undo :meth:`by_channel`.

        Args:
            values: Shape (..., multiplicity, width).

        Returns:
            Shape (..., irreps.dim).
        """
        return _permuted(values.flatten(-2), self.channel_inverse, self.channel_order)

    def from_components(
        self, values: Float[Tensor, "... width channels"]
    ) -> Float[Tensor, "... dim"]:
        """Undo :meth:`by_component`.

        Args:
            values: Shape (..., width, multiplicity).

        Returns:
            Shape (..., irreps.dim).
        """
        return _permuted(values.flatten(-2), self.component_inverse, self.component_order)

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
                advice="Features are coefficients of real harmonics.",
            )
        if x.dim() == 0 or x.shape[-1] != self.dim:
            raise ShapeError(
                expected=f"(..., {self.dim}) for {self.irreps}",
                got=str(tuple(x.shape)),
                argument=argument,
                advice=f"The layout is {self.layout}.",
            )


class _Permutation(torch.autograd.Function):
    """An order of the last axis, whose gradient is put back in order and not added up."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        return x.index_select(-1, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.order, ctx.inverse = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _permuted(gradient, ctx.inverse, ctx.order), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _permuted(tangent, ctx.order, ctx.inverse)


def _permuted(x: Tensor, order: Tensor | None, inverse: Tensor | None) -> Tensor:
    if order is None or inverse is None:
        return x.contiguous()
    if makes_graph() or not (torch.is_grad_enabled() and x.requires_grad):
        return x.index_select(-1, order)
    result: Tensor = _Permutation.apply(x, order, inverse)  # type: ignore[no-untyped-call]
    return result


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
