"""The trilinear form behind products of functions on the sphere, and its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.nn.gaunt.compiled.availability import sparse_product
from equivariant.nn.gaunt.methods.dense import multiply_densely
from equivariant.nn.gaunt.methods.fastest import case_of, choose
from equivariant.nn.gaunt.methods.registry import Method, sampling_of
from equivariant.nn.gaunt.methods.sampling import gradients, multiply
from equivariant.nn.gaunt.methods.triton_contraction import triton_contract
from equivariant.nn.gaunt.multilinear import derivative
from equivariant.nn.gaunt.multilinear_forms import (
    FormInSinglePrecision,
    Needs,
    remember_maker,
)


@dataclass(frozen=True)
class TrilinearForm(FormInSinglePrecision):
    """Which invariant trilinear form of three functions on the sphere, and how to evaluate it.

        even:  ⟨f g h⟩, symmetric       odd:  ⟨n·(∇f × ∇g) h⟩, antisymmetric

    Both are unchanged when the three operands move round in a circle, and so is the grid: that
    makes each derivative of the product the product again.

    Args:
        first: Largest degree of the first operand, at least 0.
        second: Of the second, at least 0.
        third: Of the third, which is the result, at least 0.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        method: See :func:`gaunt_product`.

    Example:
        >>> form = TrilinearForm(1, 2, 3, "even", "integral", "grid")
        >>> form.transposed().first, form.transposed().third, form.exact
        (2, 1, 6)
    """

    first: int
    second: int
    third: int
    kind: Kind
    normalization: Normalization
    method: Method

    @property
    def degrees(self) -> tuple[int, int, int]:
        """Largest degrees of the three operands."""
        return self.first, self.second, self.third

    @property
    def exact(self) -> int:
        """Degree that the grid integrates: the sum, whatever the order."""
        return self.first + self.second + self.third

    @property
    def name(self) -> str:
        """All settings in one word, see :class:`MultilinearForm`."""
        degrees = f"{self.first}/{self.second}/{self.third}"
        return f"harmonics:{degrees}/{self.kind}/{self.normalization}/{self.method}"

    def transposed(self) -> TrilinearForm:
        """The form with the second operand first, the third second and the first last."""
        return replace(self, first=self.second, second=self.third, third=self.first)

    def __call__(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Gradient of the form by its third operand.

        Args:
            x1: Shape (..., (first+1)²), floating point.
            x2: Shape (..., (second+1)²), of the same dtype.

        Returns:
            Shape (..., (third+1)²), of the same dtype.
        """
        return derivative(self, 2, (x1, x2))

    def length(self, slot: int) -> int:
        """Numbers in a row of an operand, see :class:`MultilinearForm`."""
        return (self.degrees[slot] + 1) ** 2

    def full_derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """See :class:`FormInSinglePrecision`."""
        method = self._method(operands)
        if method == "sparse":
            sparse = sparse_product(*self.degrees, self.kind, self.normalization)
            return sparse.derivative(slot, operands)
        form, x1, x2 = self._facing(slot, operands)
        with torch.autocast(device_type=x1.device.type, enabled=False):
            if method == "dense":
                return multiply_densely(
                    x1, x2, form.degrees, kind=self.kind, normalization=self.normalization
                )
            if method == "triton":
                return triton_contract(
                    x1, x2, form.degrees, kind=self.kind, normalization=self.normalization
                )
            sampling = sampling_of(method, self.degrees, self.kind, self.normalization, x1)
            return multiply(sampling, x1, x2, form.degrees)

    def full_gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """See :class:`FormInSinglePrecision`."""
        method = self._method((*operands, cotangent))
        if method == "sparse":
            sparse = sparse_product(*self.degrees, self.kind, self.normalization)
            return sparse.gradients(slot, operands, cotangent, needs)
        if method in ("dense", "triton") or not all(needs):
            whole = [*operands[:slot], cotangent, *operands[slot:]]
            places = [place for place in range(3) if place != slot]
            return [
                self.derivative(place, whole[:place] + whole[place + 1 :]) if needed else None
                for needed, place in zip(needs, places, strict=True)
            ]
        form, x1, x2 = self._facing(slot, operands)
        with torch.autocast(device_type=x1.device.type, enabled=False):
            sampling = sampling_of(method, self.degrees, self.kind, self.normalization, x1)
            one, other = gradients(sampling, x1, x2, cotangent, form.degrees)
        return [other, one] if slot == 1 else [one, other]

    def _facing(
        self, slot: int, operands: Sequence[Tensor]
    ) -> tuple[TrilinearForm, Tensor, Tensor]:
        """The form transposed so that a slot is its result, and the others in their order."""
        if slot == 2:
            return self, operands[0], operands[1]
        if slot == 0:
            return self.transposed(), operands[0], operands[1]
        return self.transposed().transposed(), operands[1], operands[0]

    def _method(self, operands: Sequence[Tensor]) -> Method:
        if self.method != "auto":
            return self.method
        vectors = max(operand.numel() // operand.shape[-1] for operand in operands)
        return choose(case_of(self.degrees, self.kind, vectors, operands[0]))


def _from_name(name: str) -> TrilinearForm:
    first, second, third, kind, normalization, method = name.partition(":")[2].split("/")
    degrees = (int(first), int(second), int(third))
    return TrilinearForm(*degrees, kind, normalization, method)  # type: ignore[arg-type]


remember_maker("harmonics", _from_name)
