"""A memory of past embeddings: first in, first out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float

_PREFIX = "row_"


@dataclass(frozen=True)
class BankRows:
    """What a bank holds, oldest row first: copies, so that later pushes do not change them.

    Args:
        z: Embeddings, shape (M, D).
        names: Further tensors by name, first axis M.
    """

    z: Tensor
    names: dict[str, Tensor]


class Bank(nn.Module):
    """The last ``size`` embeddings that were pushed, detached, and what is known of each.

    All state is buffers: it is saved with weights, moves with ``.to``, and a floating dtype given
    there converts embeddings and floating names, not integers. On several processes every one
    must push the same rows: gather them first (:func:`collect`), or banks drift apart.

    Args:
        size: Rows kept at most, at least 1.
        dim: Width of an embedding.
        like: Per name a tensor with the trailing shape and dtype of its rows; its own first axis
            does not matter: ``{"label": torch.zeros(0, dtype=torch.int64)}``.
        dtype: Of the embeddings.

    Raises:
        ConventionError: A size or width below 1.

    Example:
        >>> bank = Bank(3, 2, like={"label": torch.zeros(0, dtype=torch.int64)})
        >>> bank.push(torch.eye(2), label=torch.tensor([5, 6]))
        >>> bank.push(torch.ones(2, 2), label=torch.tensor([7, 8]))
        >>> len(bank), bank.rows().names["label"].tolist()
        (3, [6, 7, 8])
    """

    z: Tensor
    pushed: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        like: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ConventionError(
                expected="at least one row of at least one number",
                got=f"size={size}, dim={dim}",
                argument="size" if size < 1 else "dim",
                advice="To do without a bank, pass no rows of one to the contrast.",
            )
        self.size = size
        self.names = tuple(sorted(like or {}))
        self.register_buffer("z", torch.zeros(size, dim, dtype=dtype))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        for name in self.names:
            row = (like or {})[name]
            self.register_buffer(_PREFIX + name, row.new_zeros(size, *row.shape[1:], device="cpu"))

    def __len__(self) -> int:
        return min(int(self.pushed), self.size)

    @torch.no_grad()
    def push(self, z: Float[Tensor, "n d"], **names: Tensor) -> None:
        """Append rows; the oldest go when there are more than ``size``.

        Args:
            z: Embeddings, shape (N, dim), any N, also 0 or more than ``size``.
            **names: Every name of the bank, first axis N.

        Raises:
            ShapeError: A tensor whose rows are of another shape or number.
            ConventionError: A name too few or too many, or numbers of another kind.
        """
        if names.keys() != set(self.names):
            raise ConventionError(
                expected=f"the names {list(self.names)}",
                got=f"{sorted(names)}",
                argument="names",
                advice="A bank keeps what its `like` announced, no more and no less.",
            )
        given = {"z": z, **{_PREFIX + name: value for name, value in names.items()}}
        for key, value in given.items():
            _check_rows(key.removeprefix(_PREFIX), value, self.get_buffer(key), z.shape[0])
        kept = min(z.shape[0], self.size)
        last = int(self.pushed) + z.shape[0]
        places = torch.arange(last - kept, last, device=self.z.device) % self.size
        for key, value in given.items():
            buffer = self.get_buffer(key)
            buffer[places] = value[value.shape[0] - kept :].to(buffer)
        self.pushed.fill_(last)

    def rows(self) -> BankRows:
        """The rows held, oldest first; none in an empty bank."""
        last = int(self.pushed)
        places = torch.arange(last - len(self), last, device=self.z.device) % self.size
        names = {name: self.get_buffer(_PREFIX + name)[places] for name in self.names}
        return BankRows(z=self.z[places], names=names)


def _check_rows(name: str, value: Tensor, buffer: Tensor, number: int) -> None:
    if tuple(value.shape) != (number, *buffer.shape[1:]):
        raise ShapeError(
            expected=f"shape {(number, *buffer.shape[1:])}",
            got=f"shape {tuple(value.shape)}",
            argument=name,
            advice="One row per embedding, of the shape the bank was built for.",
        )
    kinds = [(x.is_floating_point(), x.dtype == torch.bool) for x in (value, buffer)]
    if kinds[0] != kinds[1]:
        raise ConventionError(
            expected=f"numbers like {buffer.dtype}",
            got=str(value.dtype),
            argument=name,
            advice="Convert them before pushing; rounding would go unnoticed.",
        )
