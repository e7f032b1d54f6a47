"""Variances that are updated draw by draw."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.measure.error.table import compare, power_of_two
from equivariant.measure.motions.motion import Part


class Spread:
    """Running variance of an output over rows, mean over its entries."""

    def __init__(self) -> None:
        self.rows, self.mean, self.square = 0, torch.zeros(()), torch.zeros(())
        self.shape: tuple[int, ...] | None = None
        self.scale = 1.0

    def add(self, y: Tensor) -> None:
        """Add a batch, shape (rows, ...)."""
        rows = y.double().flatten(1).cpu()
        if self.shape not in (None, tuple(y.shape[1:])):
            self.square = torch.tensor(math.nan)  # rows of different sizes have no mean
            return
        if self.shape is None and rows.numel():  # squares of what is summed shall not overflow
            self.scale = float(power_of_two(rows.abs().max()))
        rows = rows / self.scale
        self.shape, n = tuple(y.shape[1:]), self.rows + len(rows)
        mean = rows.mean(0)
        delta = mean - self.mean
        self.square = (
            self.square + (rows - mean).square().sum(0) + delta**2 * (self.rows * len(rows) / n)
        )
        self.mean, self.rows = self.mean + delta * (len(rows) / n), n

    @property
    def deviation(self) -> float:
        """√(E|f - mean f|² per entry); NaN for rows of different sizes, 0 for one row."""
        return self.scale * math.sqrt(float(self.square.mean()) / self.rows)


class Orbit:
    """Running weighted variance of outputs that were moved back, entry by entry."""

    def __init__(self) -> None:
        self.weight, self.mean, self.square = torch.zeros(()), torch.zeros(()), torch.zeros(())

    def add(self, part: Part, weights: Tensor) -> None:
        """Add g⁻¹·f(g·x) with the weights of the items."""
        w = rows_of(weights.to(part.tensor), part, part.tensor)
        self.weight = self.weight.to(w) + w
        delta = part.tensor - self.mean.to(w)
        self.mean = self.mean.to(w) + delta * w / self.weight.clamp(min=1e-300)
        self.square = self.square.to(w) + w * delta * (part.tensor - self.mean)

    def variance(self, part: Part, items: int) -> Tensor:
        """Summed over the entries of each item, shape (items,)."""
        values = (self.square / self.weight.clamp(min=1e-300)).clamp(min=0).sqrt()
        zero = torch.zeros_like(values)
        numbers = compare(values, zero, mask=None, item_of_row=part.item_of_row, items=items)
        return numbers["gap"].square()


def rows_of(per_item: Tensor, part: Part, like: Tensor) -> Tensor:
    """Numbers of items spread over rows, with axes to broadcast."""
    values = per_item if part.item_of_row is None else per_item[part.item_of_row]
    return values.reshape(-1, *(1,) * (like.ndim - 1))
