"""Sums and inner products over the entries of each item."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.measure.motions.motion import Motion, Part


def by_item(rows: Tensor, part: Part, items: int) -> Tensor:
    """Add up rows that belong to one item.

    Args:
        rows: One value per row of the part, shape (rows, ...).
        part: Says which item each row belongs to.
        items: Number of items.

    Returns:
        Shape (items, ...).

    Raises:
        ShapeError: Rows and items are the same by declaration, but differ in number.

    Example:
        >>> part = Part(torch.zeros(3, 1), item_of_row=torch.tensor([0, 0, 1]))
        >>> by_item(torch.tensor([1.0, 2.0, 4.0]), part, 2)
        tensor([3., 4.])
    """
    if part.item_of_row is not None:
        total = torch.zeros((items, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
        return total.index_add(0, part.item_of_row, rows)
    if len(rows) != items:
        raise ShapeError(
            expected=f"one row per item of the input: {items}",
            got=f"{len(rows)} rows",
            argument="act_out",
            advice="The first axis of outputs runs over the items, as that of inputs.",
        )
    return rows


def products(vectors: Tensor, part: Part, items: int) -> Tensor:
    """Inner products of several differences of one part, per item: G_ab = ⟨v_a, v_b⟩.

    Args:
        vectors: Shape (d, rows, ...), the shape of the part behind a first axis.
        part: Says which item each row belongs to.
        items: Number of items.

    Returns:
        Shape (items, d, d).
    """
    flat = vectors.reshape(vectors.shape[0], vectors.shape[1], -1)
    return by_item(torch.einsum("arf,brf->rab", flat, flat), part, items)


def kept(motion: Motion, g: Tensor, name: str, values: Tensor) -> Tensor:
    """Values with the entries that are undefined after a move set to zero.

    Args:
        motion: Action on the output; its mask says what is defined.
        g: The element, shape (n, n).
        name: Path of the part.
        values: Shape of the part.
    """
    mask = motion.mask(g, name)
    return values if mask is None else torch.where(mask.to(values.device), values, 0.0)


def part_tensors(motion: Motion, y: object) -> dict[str, Tensor]:
    """The tensors of an output that are compared, by path."""
    return {name: part.tensor for name, part in motion.parts(y).items()}


def moved_dtype(motion: Motion, x: object) -> tuple[torch.dtype, torch.device]:
    """The coarsest floating-point type among the moved tensors of an input, and the device."""
    found = list(part_tensors(motion, x).values())
    coarsest = max((t.dtype for t in found), key=lambda dtype: torch.finfo(dtype).eps)
    return coarsest, found[0].device


def total_products(vectors: Mapping[str, Tensor], parts: Mapping[str, Part], items: int) -> Tensor:
    """:func:`products`, added up over all parts, shape (items, d, d)."""
    grams = [products(vectors[name], parts[name], items) for name in vectors]
    return torch.stack(grams).sum(0)
