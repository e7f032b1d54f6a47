"""Refusals that several losses share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError


def check_rows(u: Tensor, least: int = 2, argument: str = "u") -> None:
    """Refuse a matrix of fewer than ``least`` rows."""
    if u.shape[0] < least:
        raise ShapeError(
            expected=f"at least {('no', 'one row', 'two rows')[least]}",
            got=f"shape {tuple(u.shape)}",
            argument=argument,
            advice="Use a larger batch.",
        )


def check_paired(u: Tensor, v: Tensor) -> None:
    """Refuse two matrices whose rows are not pairs; broadcasting would hide it."""
    if u.shape != v.shape:
        raise ShapeError(
            expected=f"the shape of u, {tuple(u.shape)}",
            got=f"shape {tuple(v.shape)}",
            argument="v",
            advice="Row i of v belongs to row i of u.",
        )


def check_width(u: Tensor, width: int, argument: str) -> None:
    """Refuse rows of another width than a network was made for."""
    if u.shape[-1] != width:
        raise ShapeError(
            expected=f"rows of width {width}, for which the network was made",
            got=f"shape {tuple(u.shape)}",
            argument=argument,
            advice="Make the objective with the width of its sides.",
        )


def check_positive(value: float, argument: str, advice: str) -> None:
    """Refuse a number that is not above 0, or is infinite."""
    if not 0 < value < math.inf:
        raise ConventionError(
            expected="a finite number above 0", got=str(value), argument=argument, advice=advice
        )


def check_finite(value: object, argument: str, advice: str) -> None:
    """Refuse an infinite number, and NaN."""
    if isinstance(value, int | float) and not math.isfinite(value):
        raise ConventionError(
            expected="a finite number", got=str(value), argument=argument, advice=advice
        )


def check_count(value: int, argument: str, advice: str) -> None:
    """Refuse a number of things below 1."""
    if value < 1:
        raise ConventionError(
            expected="1 or more", got=str(value), argument=argument, advice=advice
        )


def check_share(value: float, argument: str, advice: str) -> None:
    """Refuse a number outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ConventionError(
            expected="a number in [0, 1]", got=str(value), argument=argument, advice=advice
        )


def check_indices(
    index: Tensor,
    count: int,
    argument: str = "assignment",
    advice: str = "Pass the number of clusters as count.",
) -> None:
    """Refuse integers outside 0 … count-1."""
    if index.numel() and not bool(((index >= 0) & (index < count)).all()):
        low, high = (int(x) for x in torch.aminmax(index))
        raise ConventionError(
            expected=f"integers from 0 to {count - 1}",
            got=f"values from {low} to {high}",
            argument=argument,
            advice=advice,
        )
