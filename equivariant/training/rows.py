"""Batches of rows of tensors that are held in memory, also from one group of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Int
from equivariant.training.resume.randomness import step_generator


@dataclass(frozen=True)
class Rows:
    """Some rows of named tensors.

    Args:
        fields: One entry for each row.
    """

    fields: Mapping[str, Tensor]

    def to(self, device: torch.device | str | None = None) -> Rows:
        """The same rows elsewhere."""
        return Rows({name: x.to(device) for name, x in self.fields.items()})

    def tensors(self) -> dict[str, Tensor]:
        """The rows by name, and ``row``, their numbers."""
        return dict(self.fields)


class RowStream:
    """Draws batches of rows without repetition; that of a step depends on seed and step alone.

    With ``within`` a batch lies in one group: the group is drawn with its share of the rows,
    then rows of it; a group of fewer rows than a batch gives all of its rows.

    Args:
        fields: Tensors with one entry for each of N rows, by name; learners also get ``row``,
            the numbers of the rows, shape (batch,), int64.
        seed: Of the draws.
        within: Group of each row, shape (N,), integers of at least 0; None draws from all rows.
        least: Rows that a group must have to be drawn from, at least 1: a group of one row has
            nothing to compare it with.

    Raises:
        ShapeError: Tensors or groups differ in length, or there is no tensor.
        ConventionError: A group is negative or not an integer, or none has ``least`` rows.

    Example:
        >>> x = torch.arange(6.0)
        >>> stream = RowStream({"x": x}, seed=1, within=torch.tensor([0, 1, 0, 1, 0, 1]))
        >>> batch = next(stream.stream(2)).tensors()
        >>> bool((batch["row"] % 2 == batch["row"][0] % 2).all())
        True
    """

    def __init__(
        self,
        fields: Mapping[str, Tensor],
        *,
        seed: int = 0,
        within: Int[Tensor, " n"] | None = None,
        least: int = 2,
    ) -> None:
        lengths = {name: len(x) for name, x in fields.items()}
        if within is not None:
            lengths["within"] = len(within)
        if not fields or len(set(lengths.values())) != 1 or min(lengths.values()) < 1:
            raise ShapeError(
                expected="at least one tensor, all with one entry for each row",
                got=", ".join(f"{name} of {n}" for name, n in lengths.items()) or "none",
                argument="fields", advice="Rows are counted along the first axis.",
            )  # fmt: skip
        self.fields, self.seed = dict(fields), seed
        self.count = len(next(iter(fields.values())))
        self.groups = None if within is None else _groups(within, least)

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Rows]:
        """Batches of steps start, start + 1, ...; process ``rank`` of ``world`` gets its share."""
        step = start
        while True:
            row = self._drawn(batch_size, step)[rank::world]
            yield Rows({**{name: x[row] for name, x in self.fields.items()}, "row": row})
            step += 1

    def _drawn(self, size: int, step: int) -> Tensor:
        generator = step_generator(self.seed, step)
        if self.groups is None:
            return torch.randperm(self.count, generator=generator)[:size]
        sizes = torch.tensor([float(len(group)) for group in self.groups])
        group = self.groups[int(torch.multinomial(sizes, 1, generator=generator))]
        return group[torch.randperm(len(group), generator=generator)[:size]]


def _groups(within: Tensor, least: int) -> list[Tensor]:
    if within.is_floating_point() or bool((within < 0).any()):
        raise ConventionError(
            expected="groups numbered from 0", got=f"{within.dtype}, least {within.min()}",
            argument="within", advice="Clusters or labels are groups.",
        )  # fmt: skip
    within = within.cpu()
    groups = [(within == g).nonzero().squeeze(1) for g in within.unique().tolist()]
    large = [group for group in groups if len(group) >= least]
    if not large:
        raise ConventionError(
            expected=f"a group of {least} rows or more",
            got=f"{len(groups)} groups of at most {max(map(len, groups))}",
            argument="within", advice="Take fewer clusters, or lower least=.",
        )  # fmt: skip
    return large
