"""Products by the list of coefficients that are not zero, in compiled kernels on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from equivariant.nn.gaunt.compiled.compilation import NUMPY_DTYPES
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import Extent, Operand
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES
from equivariant.nn.gaunt.compiled.nonzero_coefficients import Couplings, Integers
from equivariant.nn.gaunt.compiled.product.schedules import (
    PlaceList,
    deep,
    flat,
    is_symmetric,
    mirrored,
    nested,
    unrolled,
)
from equivariant.nn.gaunt.compiled.product.sweeps import (
    derive_all,
    derive_all_weighted,
    multiply_all,
    multiply_all_weighted,
)
from equivariant.nn.gaunt.compiled.product.unrolled import MOST_TERMS, Purpose
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.compiled.threads import cut, in_parts, number_of_parts
from equivariant.nn.gaunt.multilinear_forms import MultilinearForm, Needs, leading_axes

MAKERS = {"flat": flat, "deep": deep}


class Place(NamedTuple):
    """What does not change from call to call about an operand: see :class:`Operand`."""

    length: int
    rows: int
    shared: bool
    direct: bool
    blocks: Integers


class SparseForm(MultilinearForm):
    """The trilinear form Σ_abc G_abc x1_a x2_b x3_c for every channel, or its weighted sum.

        without weights:  slots 0, 1, 2 are x1, x2, x3
        with weights:     Σ_p w_p Σ_abc∈p G_abc x1_a x2_b x3_c, slot 3 is w

    where p are the couplings l1 ⊗ l2 → l3. Operands are rows laid out as their :class:`Layout`
    says; w is a row of couplings times channels, the channels of a coupling side by side.

    Args:
        terms: The coefficients.
        layouts: Of x1, x2 and x3, with the same number of channels.
        weighted: Whether there are weights.
    """

    name = ""  # only used from within other forms

    def __init__(
        self,
        terms: Couplings,
        layouts: tuple[RowLayout, RowLayout, RowLayout],
        *,
        weighted: bool = False,
    ) -> None:
        self.terms = terms
        channels = layouts[0].channels
        weights = (RowLayout((1,) * terms.paths, channels, "ir_mul"),) if weighted else ()
        self.layouts = (*layouts, *weights)
        self.weighted = weighted
        self.channels = channels
        self._plans: dict[tuple[Any, ...], Any] = {}
        self._places: dict[int, list[Place]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when needed."""
        return {**self.__dict__, "_plans": {}, "_places": {}}

    @cached_property
    def symmetric(self) -> bool:
        """Whether the first two operands can change places, coefficients and layout alike."""
        alike = self.layouts[0] == self.layouts[1] and not self.layouts[0].shared
        return alike and is_symmetric(self.terms)

    def length(self, slot: int) -> int:
        """See :class:`MultilinearForm`."""
        length: int = self.layouts[slot].length
        return length

    def derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """Gradient by one operand, see :class:`MultilinearForm`."""
        lead = leading_axes(operands)
        result = self._new(slot, lead, operands[0])
        if result.numel() == 0 or not len(self.terms.value):
            return result.zero_()
        call = _Call(self, [*operands[:slot], result, *operands[slot:]], lead)
        if not self.weighted:
            one, other = [place for place in range(3) if place != slot]
            plan = self._plan("product", slot, call)
            call.run(multiply_all, [call.rows[one], call.rows[other], call.rows[slot]], plan)
            return result
        segment = 3 if slot != 3 else 2
        one, other = sorted({0, 1, 2} - {slot, segment})
        plan = self._weighted_plan("flat", (slot, segment), call)
        rows = [call.rows[place] for place in (one, other, segment, slot)]
        call.run(multiply_all_weighted, rows, plan)
        return result

    def gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """Gradients by the operands of a derivative, see :class:`MultilinearForm`."""
        whole = [*operands[:slot], cotangent, *operands[slot:]]
        places = [place for place in range(len(whole)) if place != slot]
        lead = leading_axes(whole)
        if sum(needs) > 1 and slot != 3 and lead.numel() and len(self.terms.value):
            return self._sweep(slot, whole, lead)
        return [
            self.derivative(place, whole[:place] + whole[place + 1 :]) if needed else None
            for needed, place in zip(needs, places, strict=True)
        ]

    def _sweep(self, slot: int, whole: list[Tensor], lead: torch.Size) -> list[Tensor | None]:
        """All gradients at once, given a gradient in one slot of the three."""
        one, other = [place for place in range(3) if place != slot]
        call = _Call(self, whole, lead)
        results = [self._new(place, lead, whole[0]) for place in (one, other)]
        to = [call.row(place, result) for place, result in zip((one, other), results, strict=True)]
        rows = [call.rows[place] for place in (one, other, slot)]
        if not self.weighted:
            plan = self._plan("gradients", slot, call)
            call.run(derive_all, [*rows, *to], plan)
            return [*results]
        once = whole[3].numel() == self.layouts[3].length
        parts = call.parts if once else 1
        shape = torch.Size((parts,)) if once else lead
        weights = self._new(3, shape, whole[0], zeros=once)
        plan = self._weighted_plan("deep", (one, other, slot), call)
        to.append(call.row(3, weights[0] if once else weights))
        call.run(derive_all_weighted, [*rows, call.rows[3], *to], plan, apart=once)
        return [*results, weights.sum(0).view(whole[3].shape) if once else weights]

    def _new(self, slot: int, lead: torch.Size, like: Tensor, *, zeros: bool = False) -> Tensor:
        """Memory for a result; sums over shared channels start from zeros."""
        layout = self.layouts[slot]
        shape = (*lead, layout.length)
        if zeros or layout.shared:
            return like.new_zeros(shape)
        return (
            torch.empty_like(like)
            if like.shape == shape and like.is_contiguous()
            else like.new_empty(shape)
        )

    def places(self, size: int) -> list[Place]:
        """How all operands lie, for numbers of a size in bytes."""
        if size not in self._places:
            found = []
            for layout in self.layouts:
                whole = layout.order == "ir_mul" and not layout.shared and layout.channels > 1
                records = layout.records * (size, 1, 1)
                direct = whole and layout.channels % (BYTES // size) == 0
                place = Place(layout.length, layout.size, layout.shared, direct, records)
                found.append(place)
            self._places[size] = found
        return self._places[size]

    def _plan(self, purpose: Purpose, slot: int, call: _Call) -> Any:
        """What a sweep without weights needs to know, made once."""
        key = (purpose, slot, call.dtype)
        if key not in self._plans:
            one, other = [place for place in range(3) if place != slot]
            symmetric = slot == 2 and self.symmetric
            offsets, dtype = self._offsets(call), NUMPY_DTYPES[call.dtype]
            if len(self.terms.value) <= MOST_TERMS:
                roles = (one, other, slot)
                plan = unrolled(
                    self.terms, roles, offsets, dtype, purpose=purpose, symmetric=symmetric
                )
            elif symmetric:
                plan = mirrored(self.terms, (0, 1, 2), offsets, dtype)
            else:
                roles = (one, other, slot) if purpose == "gradients" else (slot, one, other)
                plan = nested(self.terms, roles, offsets, dtype)
            self._plans[key] = tuple(plan)
        return self._plans[key]

    def _weighted_plan(self, kind: str, roles: tuple[int, ...], call: _Call) -> Any:
        """The same for a sweep with weights."""
        key = (kind, roles, call.dtype)
        if key not in self._plans:
            make: Any = MAKERS[kind]
            arguments = roles if kind == "flat" else (roles,)
            plan = make(self.terms, *arguments, self._offsets(call), NUMPY_DTYPES[call.dtype])
            self._plans[key] = tuple(plan)
        return self._plans[key]

    def _offsets(self, call: _Call) -> PlaceList:
        at = [
            place.blocks[:, 0] if place.direct else np.arange(place.rows) * BYTES
            for place in call.places
        ]
        return PlaceList((at[0], at[1], at[2]), at[-1])


class _Call:
    """Operands for one call as kernels take them; copies of what does not lie row by row.

    Rows of a single channel are treated as one entry whose channels are the rows.
    """

    def __init__(self, form: SparseForm, whole: list[Tensor], lead: torch.Size) -> None:
        self.dtype = whole[0].dtype
        self.size = self.dtype.itemsize
        self.count = lead.numel()
        self.single = form.channels == 1
        self.places = form.places(self.size)
        self.kept = [
            tensor if tensor.is_contiguous() and tensor.shape[:-1] == lead
            else self._aligned(tensor, lead) for tensor in whole
        ]  # fmt: skip
        self.rows = [self.row(place, tensor) for place, tensor in enumerate(self.kept)]
        if self.single:
            self.extent = (0, 1, self.count, 1, self.size)
        else:
            group = max(1, BYTES // self.size // form.channels)
            self.extent = (0, self.count, form.channels, group, self.size)
        self.parts = 1
        if torch.get_num_threads() > 1 and not (self.single and any(row[3] for row in self.rows)):
            self.parts = number_of_parts(
                Extent(*self.extent), len(form.terms.value), single=self.single
            )

    def _aligned(self, tensor: Tensor, lead: torch.Size) -> Tensor:
        """Rows one after another, or one row for all."""
        length = tensor.shape[-1]
        if tensor.numel() != length:
            tensor = tensor.expand(*lead, length)
        return tensor.contiguous()

    def row(self, place: int, tensor: Tensor) -> tuple[Any, ...]:
        """The fields of :class:`Operand`."""
        length, rows, shared, direct, blocks = self.places[place]
        stride = length * self.size
        if self.count > 1 and tensor.numel() == length:
            if self.single:
                shared = True
            else:
                stride = 0
        return tensor.data_ptr(), stride, rows, shared, direct, blocks

    def run(
        self, function: Any, rows: list[tuple[Any, ...]], plan: Any, *, apart: bool = False
    ) -> None:
        """Run a sweep, on several threads if it is large; the last result may be one per part."""
        if self.parts == 1:
            function(tuple(rows), plan, self.extent)
            return
        parts = []
        whole = [Operand(*row) for row in rows]
        for number, (part, extent) in enumerate(cut(whole, Extent(*self.extent), self.parts)):
            if apart:
                last = part[-1]
                step = last.rows * extent.channels * self.size
                part = [*part[:-1], last._replace(address=last.address + number * step)]
            parts.append((tuple(tuple(one) for one in part), plan, tuple(extent)))
        in_parts(function, parts)
