"""One side of a contrast: embeddings, and what pairs need to know about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.processes import collect, rank

_PER_RANK = 1 << 40


@dataclass(frozen=True)
class Side:
    """Embeddings with their names.

    Args:
        z: Embeddings, shape (N, D), floating point.
        index: Identity of a row, unique over the side (and over all processes), shape (N,),
            int64; rows of two sides with one index are the same vector.
        id: Which object a row shows, shape (N,), int64; None if unknown.
        label: Class of a row, shape (N,), int64, or a regression target, floating point; None
            if unknown.
        pose: Element of a group for each row, shape (N, n, n); None if unknown.
        modality: Which modality a row comes from, shape (N,), int64; None if unknown.
        weight: Factor c_i of an anchor's loss, shape (N,), floating point; None is 1.
        irreps: How a group acts on the columns of z, in e3nn's notation, for example
            ``"8x0e + 4x1o"``; None if no group does, or it is unknown.
        extra: Further tensors with one entry per row, by name: positions, cluster numbers,
            features of a frozen model, rows of soft targets.

    Raises:
        ShapeError: z is not a matrix, an attribute has another length, or the irreps another
            width.

    Example:
        >>> side = Side.views(torch.randn(4, 8), torch.randn(4, 8), position=torch.randn(4, 3))
        >>> side.z.shape, side.id.tolist(), side.get("position").shape
        (torch.Size([8, 8]), [0, 1, 2, 3, 0, 1, 2, 3], torch.Size([8, 3]))
    """

    z: Tensor
    index: Tensor
    id: Tensor | None = None
    label: Tensor | None = None
    pose: Tensor | None = None
    modality: Tensor | None = None
    weight: Tensor | None = None
    irreps: str | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_tensor(self.z, "z")
        if not self.z.is_floating_point():
            raise ConventionError(
                expected="embeddings in floating point, real",
                got=str(self.z.dtype),
                argument="z",
                advice="Convert integers with .float(); put real and imaginary parts side by side.",
            )
        if self.z.ndim != 2:
            raise ShapeError(
                expected="embeddings of shape (N, D)",
                got=f"shape {tuple(self.z.shape)}",
                argument="z",
                advice="Flatten batch axes into one.",
            )
        for name, value in self.names().items():
            check_tensor(value, name)
            if value.ndim < 1 or value.shape[0] != self.z.shape[0]:
                raise ShapeError(
                    expected=f"one entry per embedding, shape ({self.z.shape[0]}, ...)",
                    got=f"shape {tuple(value.shape)}",
                    argument=name,
                    advice="One entry per row of z.",
                )
        if self.irreps is not None and Irreps(self.irreps).dim != self.z.shape[1]:
            raise ShapeError(
                expected=f"irreps of {self.z.shape[1]} columns, as z",
                got=f"{self.irreps}, of {Irreps(self.irreps).dim}",
                argument="irreps",
                advice="Pass the irreps of these columns only.",
            )

    @staticmethod
    def of(z: Tensor, **names: Tensor | str | None) -> Side:
        """Rows numbered as they come; ``names`` are fields of a side or go to ``extra``."""
        check_tensor(z, "z")
        return _make(z, _numbers(z.shape[0], z.device), names)

    @staticmethod
    def views(a: Tensor, b: Tensor, **names: Tensor | str | None) -> Side:
        """Both views of N objects as 2N rows, first all of a, then all of b.

        Args:
            a: First views, shape (N, D).
            b: Second views, shape (N, D); row i shows the object of a's row i.
            names: What both views of an object share, shape (N, ...): ``id`` (numbered as they
                come if absent), ``label``, ``weight``, or any other name; ``irreps`` as it is.
        """
        check_tensor(a, "a")
        check_tensor(b, "b")
        for name, value in names.items():
            if value is not None and name != "irreps":
                check_tensor(value, name)
        if a.shape != b.shape:
            raise ShapeError(
                expected=f"as many second views as first ones, shape {tuple(a.shape)}",
                got=f"shape {tuple(b.shape)}",
                argument="b",
                advice="Row i of a and row i of b show one object.",
            )
        if names.get("id") is None:
            names["id"] = _numbers(a.shape[0], a.device)
        twice = {
            name: _stack([value, value]) if isinstance(value, Tensor) else value
            for name, value in names.items()
        }
        return Side.of(_stack([a, b]), **twice)

    @staticmethod
    def join(*sides: Side) -> Side:
        """The rows of several sides, one after the other; a name stays if every side has it.

        Rows with one index in two sides remain the same vector.

        Raises:
            ShapeError: The sides have embeddings of different widths.
        """
        if len(sides) == 1:
            return sides[0]
        widths = [side.z.shape[1] for side in sides]
        if len(set(widths)) > 1:
            raise ShapeError(
                expected="sides of one width, whose rows are compared",
                got=f"widths {', '.join(map(str, widths))}",
                argument="sides",
                advice="Project them to one space.",
            )
        known = [side.names() for side in sides]
        shared = {
            name: _stack([names[name] for names in known])
            for name in known[0]
            if all(name in names for names in known)
        }
        irreps = sides[0].irreps if len({side.irreps for side in sides}) == 1 else None
        index = shared.pop("index")
        return _make(_stack([side.z for side in sides]), index, {**shared, "irreps": irreps})

    def names(self) -> dict[str, Tensor]:
        """All tensors beside z that are known, by name."""
        own = ((name, getattr(self, name)) for name in _OF_ROWS)
        return {name: value for name, value in (*own, *self.extra.items()) if value is not None}

    def get(self, name: str) -> Tensor:
        """What is known under a name.

        Raises:
            ConventionError: Nothing is.
        """
        value: Tensor | None = getattr(self, name) if name in _OF_ROWS else self.extra.get(name)
        if value is None:
            raise ConventionError(
                expected=f"a side that knows its rows' {name}",
                got=f"one that knows {', '.join(self.names())}",
                argument=name,
                advice=f"Pass {name}= when making the Side.",
            )
        return value

    def replace(self, z: Tensor | None = None, **names: Tensor | str | None) -> Side:
        """The same rows with other embeddings or names; None drops a name."""
        if not names and (z is None or z is self.z):
            return self
        new = {**self.names(), "irreps": self.irreps, **names}
        index = new.pop("index")
        if not isinstance(index, Tensor):
            index = _numbers(len(self), self.z.device)
        return _make(self.z if z is None else z, index, new)

    def detach(self) -> Side:
        """The same rows; nothing flows back through the embeddings."""
        return self.replace(self.z.detach()) if self.z.requires_grad else self

    def collect(self) -> Side:
        """The rows of all processes, in the order of ranks, with gradient; see ``collect``."""
        return self._each(collect)

    def __getitem__(self, rows: slice | Tensor) -> Side:
        """Some of the rows."""
        return self._each(lambda tensor: tensor[rows])

    def __len__(self) -> int:
        return int(self.z.shape[0])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Side:
        names = {name: change(value) for name, value in self.names().items()}
        index = names.pop("index")
        return _make(change(self.z), index, {**names, "irreps": self.irreps})


def check_tensor(value: object, argument: str) -> None:
    """Refuse what is no tensor: lists, arrays of NumPy."""
    if not isinstance(value, Tensor):
        raise ConventionError(
            expected="a tensor",
            got=type(value).__name__,
            argument=argument,
            advice=f"torch.as_tensor({argument}) makes one of numbers."
            if argument.isidentifier()
            else "torch.as_tensor(...) makes one of numbers.",
        )


_OF_ROWS = tuple(f.name for f in fields(Side) if f.name not in {"z", "irreps", "extra"})
_FIELDS = {f.name for f in fields(Side)} - {"z", "index", "extra"}


def _make(z: Tensor, index: Tensor, names: Mapping[str, Tensor | str | None]) -> Side:
    for name, value in names.items():
        if name != "irreps" and value is not None:
            check_tensor(value, name)
    own = {name: value for name, value in names.items() if name in _FIELDS}
    extra = {
        name: value
        for name, value in names.items()
        if name not in _FIELDS and isinstance(value, Tensor)
    }
    return Side(z, index, extra=extra, **own)  # type: ignore[arg-type]


def _numbers(count: int, device: torch.device) -> Tensor:
    """0, 1, ... on one process; disjoint ranges on several."""
    first = _PER_RANK * rank()
    return torch.arange(first, first + count, device=device)


def _stack(tensors: list[Tensor]) -> Tensor:
    """Rows one after the other, in their own dtype: autocast would refuse to join float16."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        return torch.cat(tensors)
