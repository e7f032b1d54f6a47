"""Couplings one by one in pure PyTorch: slow, without requirements, and with a weight for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.multilinear_forms import MultilinearForm, Needs, leading_axes, swapped
from equivariant.nn.gaunt.product.irreps_terms import IrrepsProduct, irreps_couplings
from equivariant.nn.irreps import irreps_of

LETTERS = "abd"


class PathSum(MultilinearForm):
    """The form of :class:`SparseForm` with weights, one contraction for each coupling.

    Args:
        product: Which couplings.
        layouts: Of x1, x2 and x3, with the same number of channels.
    """

    name = ""  # only used from within other forms

    def __init__(
        self, product: IrrepsProduct, layouts: tuple[RowLayout, RowLayout, RowLayout]
    ) -> None:
        self.product, self.layouts = product, layouts
        self.channels = layouts[0].channels

    def length(self, slot: int) -> int:
        """See :class:`MultilinearForm`."""
        if slot == 3:
            return len(self.product.paths) * self.channels
        return self.layouts[slot].length

    def derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """See :class:`MultilinearForm`."""
        some = operands[0]
        lead = leading_axes(operands)
        count = lead.numel()
        whole = [
            operand.expand(*lead, -1).reshape(count, operand.shape[-1]) for operand in operands
        ]
        whole.insert(slot, some.new_zeros(count, self.length(slot)))
        pieces = [self._pieces(place, tensor) for place, tensor in enumerate(whole)]
        blocks = path_blocks(self.product, some.dtype, some.device)
        letters = [
            "n" + LETTERS[i] if self.layouts[i].shared else "nc" + LETTERS[i] for i in range(3)
        ]
        letters.append("nc")
        inputs = [place for place in range(4) if place != slot]
        rule = ",".join([*(letters[place] for place in inputs), "abd"]) + "->" + letters[slot]
        with torch.autocast(device_type=some.device.type, enabled=False):
            for number, (path, block) in enumerate(zip(self.product.paths, blocks, strict=True)):
                chosen = [pieces[place][(*path, number)[place]] for place in range(4)]
                factors = [chosen[place] for place in inputs]
                chosen[slot] += torch.einsum(rule, *factors, block)
        return whole[slot].reshape(*lead, self.length(slot))

    def gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """See :class:`MultilinearForm`."""
        return [
            self.derivative(place, others) if needed else None
            for needed, (place, others) in zip(
                needs, swapped(slot, operands, cotangent), strict=True
            )
        ]

    def _pieces(self, slot: int, rows: Tensor) -> list[Tensor]:
        """Views of an operand's blocks, (entries, channels, coefficients)."""
        if slot == 3:
            return list(rows.unflatten(-1, (-1, self.channels)).unbind(1))
        layout = self.layouts[slot]
        each = 1 if layout.shared else layout.channels
        blocks = rows.split([width * each for width in layout.widths], -1)
        if layout.shared:
            return list(blocks)
        if layout.order == "mul_ir":
            return [
                block.unflatten(-1, (each, width))
                for block, width in zip(blocks, layout.widths, strict=True)
            ]
        return [
            block.unflatten(-1, (width, each)).mT
            for block, width in zip(blocks, layout.widths, strict=True)
        ]


@lru_cache(maxsize=64)
def path_blocks(
    product: IrrepsProduct, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """The coefficients of each coupling.

    Args:
        product: Which couplings.
        dtype: Of the result.
        device: Of the result.

    Returns:
        Shape (2·l1+1, 2·l2+1, 2·l3+1) each. Shared: do not write into them.
    """
    terms = irreps_couplings(product)
    whole = np.zeros(terms.sizes)
    whole[terms.first, terms.second, terms.third] = terms.value
    slices = [irreps.slices() for irreps in _single(product)]
    with torch.inference_mode(False):
        return tuple(
            torch.tensor(whole[slices[0][i], slices[1][j], slices[2][k]], device="cpu").to(
                device, dtype
            )
            for i, j, k in product.paths
        )


def _single(product: IrrepsProduct) -> list[Irreps]:
    return [Irreps([(1, irrep) for irrep in irreps_of(irreps)]) for irreps in product.operands]
