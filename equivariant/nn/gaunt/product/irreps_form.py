"""The form behind a layer: all couplings between irreps at once, in compiled kernels or without."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.nn.gaunt.compiled.availability import sparse_fits
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.methods.path_sum import PathSum
from equivariant.nn.gaunt.multilinear_forms import (
    FormInSinglePrecision,
    MultilinearForm,
    Needs,
    remember,
    remember_maker,
)
from equivariant.nn.gaunt.product.irreps_terms import IrrepsProduct, irreps_couplings
from equivariant.nn.irreps import irreps_of
from equivariant.nn.irreps_layout import Layout


class IrrepsForm(FormInSinglePrecision):
    """Σ_p (w_p) Σ_abc∈p G_abc x1_a x2_b x3_c over all couplings p, for every channel.

    Args:
        product: Which couplings.
        channels: Multiplicity of the first operand and of the result.
        order: Of all operands in memory.
        shared: Whether the second operand has one channel, which serves all.
        weighted: Whether there is a weight for each coupling and channel.
        compiled: Whether kernels are used where they fit; with weights only.
    """

    def __init__(
        self,
        product: IrrepsProduct,
        channels: int,
        order: Layout,
        *,
        shared: bool,
        weighted: bool,
        compiled: bool,
    ) -> None:
        self.product = product
        self.channels, self.order = channels, order
        self.shared, self.weighted, self.compiled = shared, weighted, compiled
        first, second, third = (
            tuple(irrep.dim for irrep in irreps_of(irreps)) for irreps in product.operands
        )
        self.layouts = (
            RowLayout(first, channels, order),
            RowLayout(second, channels, order, shared),
            RowLayout(third, channels, order),
        )
        lists = ("+".join(map(str, irreps_of(irreps))) for irreps in product.operands)
        settings = (product.parity, product.normalization, product.path_norm, order)
        numbers = (channels, int(shared), int(weighted), int(compiled))
        self._name = "irreps:" + "/".join(map(str, (*lists, *settings, *numbers)))
        remember(self)

    @property
    def name(self) -> str:
        """See :class:`MultilinearForm`."""
        return self._name

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be known by name in the process that a copy arrives in."""
        self.__dict__.update(state)
        remember(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when needed."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_sparse", "_plain")}

    @cached_property
    def _sparse(self) -> MultilinearForm:
        from equivariant.nn.gaunt.compiled.product.sparse import SparseForm  # noqa: PLC0415

        terms = irreps_couplings(self.product)
        return SparseForm(terms, self.layouts, weighted=self.weighted)

    @cached_property
    def _plain(self) -> MultilinearForm:
        return PathSum(self.product, self.layouts)

    def _engine(self, like: Tensor) -> MultilinearForm:
        fits = self.compiled and sparse_fits(like.device, like.dtype)
        return self._sparse if fits or not self.weighted else self._plain

    def length(self, slot: int) -> int:
        """See :class:`MultilinearForm`."""
        if slot == 3:
            return len(self.product.paths) * self.channels
        return self.layouts[slot].length

    def full_derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """See :class:`FormInSinglePrecision`."""
        return self._engine(operands[0]).derivative(slot, operands)

    def full_gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """See :class:`FormInSinglePrecision`."""
        return self._engine(cotangent).gradients(slot, operands, cotangent, needs)


def _from_name(name: str) -> IrrepsForm:
    first, second, third, parity, normalization, path_norm, order, *numbers = name.partition(":")[
        2
    ].split("/")
    lists = (Irreps(first), Irreps(second), Irreps(third))
    product = IrrepsProduct(*lists, parity, normalization, path_norm)  # type: ignore[arg-type]
    channels, shared, weighted, compiled = map(int, numbers)
    flags = {"shared": bool(shared), "weighted": bool(weighted), "compiled": bool(compiled)}
    return IrrepsForm(product, channels, order, **flags)  # type: ignore[arg-type]


remember_maker("irreps", _from_name)
