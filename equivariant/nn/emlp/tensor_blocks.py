"""Products and gates of tensors: the equivariant nonlinearities of networks on matrix groups."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.actions import Action, DirectSum, Tensors, Trivial
from equivariant.errors import ConventionError
from equivariant.shapes import Float


@dataclass(frozen=True)
class TensorPart:
    """The channels of one kind of tensor within a representation.

    Args:
        p: Indices that move by g.
        q: Dual indices.
        channels: Number of tensors.
        size: n, what each index runs over.
        rows: Which entries.
    """

    p: int
    q: int
    channels: int
    size: int
    rows: slice

    def of(self, x: Tensor) -> Tensor:
        """Its tensors, shape (..., channels, n, ..., n)."""
        shape = (self.channels, *(self.size,) * (self.p + self.q))
        found: Tensor = x[..., self.rows].unflatten(-1, shape)
        return found


def tensor_parts(action: Action) -> list[TensorPart]:
    """The kinds of tensors of a sum of :class:`equivariant.actions.Tensors`; Trivial are scalars.

    Raises:
        ConventionError: A part of the sum is another action.
    """
    parts = action.summands if isinstance(action, DirectSum) else [action]
    found, start = [], 0
    for part in parts:
        rows = slice(start, start + part.dim)
        start += part.dim
        if isinstance(part, Trivial):
            found.append(TensorPart(0, 0, part.dim, 1, rows))
        elif isinstance(part, Tensors):
            size = part.of.matrix_size
            found.append(TensorPart(part.p, part.q, part.channels, size, rows))
        else:
            raise ConventionError(
                expected="a sum of Tensors and Trivial", got=type(part).__name__,
                argument="action", advice="Products and gates are defined for tensors.",
            )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Path:
    """One way in which tensors of kind a, with those of kind c, make tensors of kind b.

    Args:
        a: Kind of the first factor, of which ``used`` tensors enter.
        b: Kind of the product.
        c: Kind of the second factor.
        used: Number of tensors of kind a.
        outer: Whether it is the tensor product; otherwise a is applied to c as a linear map.
    """

    a: TensorPart
    b: TensorPart
    c: TensorPart
    used: int
    outer: bool

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Shape (items, entries of b) of x of shape (items, inputs)."""
        a, b, c, items = self.a, self.b, self.c, len(x)
        rows, columns = b.size ** (b.p + b.q), c.size ** (c.p + c.q)
        left = a.of(x)[:, : self.used]
        right = x[:, c.rows].unflatten(-1, (c.channels, columns))
        if self.outer:
            first = left.reshape(items, self.used, 1, a.size ** (a.p + a.q), 1)
            both = first * right.unsqueeze(1).unsqueeze(-2)
            indices = both.reshape(items, self.used * c.channels, *(b.size,) * (b.p + b.q))
            made = indices.permute(0, 1, *_outer_order(a, b, c)).flatten(2)
        else:
            maps = left.permute(0, 1, *_order(a, b, c)).reshape(items, self.used * rows, columns)
            applied = (maps @ right.transpose(1, 2)).unflatten(1, (self.used, rows))
            made = applied.transpose(2, 3).reshape(items, self.used * c.channels, rows)
        mixed: Tensor = weight.flatten(1) @ made
        return mixed.flatten(1)


class TensorBilinear(nn.Module):
    """Products of the tensors of x with one another, linear maps applied and tensor products.

        y_b,o = scale Σ_a,c Σ_i Σ_k w_oki (a_k · x_c,i),   · application or ⊗

    A third kind a of x is applied to c as a linear map where it has just the indices of one from c
    to b, T(p_b + q_c, q_b + p_c); a ⊗ c goes to b where the indices of both are those of b. Weights
    mix channels only, so all of it commutes with the group; for groups of orthogonal matrices p
    and q count as one. To keep weights few, of a kind with more tensors than entries only that
    many enter as a. The application alone is what Finzi et al. have; from vectors alone it makes
    no tensor of rank 2.

    Args:
        action: On inputs, a sum of Tensors.
        out: On outputs, a sum of Tensors of the same group; None for the same as the inputs'.
        scale: Of the result.

    Raises:
        ConventionError: An action is no sum of tensors.

    Example:
        >>> from equivariant.groups import SO3
        >>> act = 3 * Tensors(SO3(), 0) + 2 * Tensors(SO3(), 1)
        >>> TensorBilinear(act)(torch.randn(8, act.dim)).shape
        torch.Size([8, 9])

    Source: Finzi, Welling, Wilson 2021, bilinear layer.
    """

    def __init__(self, action: Action, out: Action | None = None, *, scale: float = 0.3) -> None:
        super().__init__()
        self.action, self.out = action, action if out is None else out
        self.scale = scale
        kinds, self._out = tensor_parts(action), tensor_parts(self.out)
        same = all(isinstance(one, Trivial) or one.orthogonal for one, _ in action.pieces())
        self.paths: list[_Path] = []
        weights = []
        for b in self._out:
            own = [
                _Path(a, b, c, min(a.channels, a.size ** (a.p + a.q)), outer)
                for a in kinds
                for c in kinds
                for outer in (False, True)
                if a.p + a.q and (_multiplies if outer else _maps)(a, b, c, same)
            ]
            inputs = sum(path.c.channels * path.used for path in own)
            for path in own:
                shape = (b.channels, path.used, path.c.channels)
                weights.append(nn.Parameter(torch.randn(shape) / inputs**0.5))
            self.paths += own
        self.weights = nn.ParameterList(weights)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., out.dim) of shape (..., action.dim)."""
        batch = x.shape[:-1]
        flat = x.reshape(batch.numel(), x.shape[-1])
        found: dict[int, Tensor] = {}
        for weight, path in zip(self.weights, self.paths, strict=True):
            at, made = path.b.rows.start, path(flat, weight)
            found[at] = found[at] + made if at in found else made
        parts = [
            found[b.rows.start]
            if b.rows.start in found
            else flat.new_zeros(len(flat), b.rows.stop - b.rows.start)
            for b in self._out
        ]
        return self.scale * torch.cat(parts, -1).reshape(*batch, self.out.dim)

    def extra_repr(self) -> str:
        return f"{len(self.paths)} paths, scale={self.scale}"


class TensorGate(nn.Module):
    """Scalars through swish, other tensors times the sigmoid of a scalar of their own.

        y_0 = x_0 σ(x_0),   y_c = σ(s_c) x_c

    ``act_in`` are the tensors followed by the scalars s, one for each that is no scalar. With
    ``leak`` w swish(x), entry by entry, is added, w learned and at first 1e-3: this breaks
    equivariance unless w is zero, which is what mixed-symmetry networks want.

    Args:
        action: On outputs, a sum of Tensors.
        leak: Whether the entrywise path is added.

    Raises:
        ConventionError: The action is no sum of tensors.

    Example:
        >>> from equivariant.groups import SO3
        >>> gate = TensorGate(3 * Tensors(SO3(), 0) + 2 * Tensors(SO3(), 1))
        >>> gate.act_in.dim, gate(torch.randn(8, 11)).shape
        (11, torch.Size([8, 9]))

    Source: Finzi, Welling, Wilson 2021; Kim et al. 2023 and published code (leak).
    """

    def __init__(self, action: Action, *, leak: bool = False) -> None:
        super().__init__()
        self.act_out = action
        parts = tensor_parts(action)
        gates = sum(part.channels for part in parts if part.p + part.q)
        group = action.group
        self.act_in = DirectSum([action, Trivial(gates, group)]) if gates else action
        places, extra = [], action.dim
        for part in parts:
            entries = part.size ** (part.p + part.q)
            if part.p + part.q == 0:
                places += list(range(part.rows.start, part.rows.stop))
                continue
            places += [extra + k for k in range(part.channels) for _ in range(entries)]
            extra += part.channels
        self._places: Tensor
        self.register_buffer("_places", torch.tensor(places), persistent=False)
        self.leak = nn.Parameter(torch.tensor(1e-3)) if leak else None

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., act_out.dim) of shape (..., act_in.dim)."""
        tensors = x[..., : self.act_out.dim]
        y: Tensor = tensors * x[..., self._places].sigmoid()
        if self.leak is not None:
            y = y + self.leak * tensors * tensors.sigmoid()
        return y


def _maps(a: TensorPart, b: TensorPart, c: TensorPart, orthogonal: bool) -> bool:
    """Whether tensors of kind a are linear maps from kind c to kind b."""
    if orthogonal:
        return a.p + a.q == b.p + b.q + c.p + c.q
    return a.p == b.p + c.q and a.q == b.q + c.p


def _multiplies(a: TensorPart, b: TensorPart, c: TensorPart, orthogonal: bool) -> bool:
    """Whether the tensor product of kinds a and c, neither scalars, is of kind b."""
    if not c.p + c.q:
        return False  # the same as the application to scalars
    if orthogonal:
        return a.p + a.q + c.p + c.q == b.p + b.q
    return (a.p + c.p, a.q + c.q) == (b.p, b.q)


def _outer_order(a: TensorPart, b: TensorPart, c: TensorPart) -> list[int]:
    """Axes of a ⊗ c, after (items, channels), those that move by g first: (p_a, p_c, q_a, q_c)."""
    first = list(range(2, 2 + b.p + b.q))
    if (a.p + c.p, a.q + c.q) != (b.p, b.q):
        return first
    pa, rest = first[: a.p], first[a.p :]
    qa, rest = rest[: a.q], rest[a.q :]
    return [*pa, *rest[: c.p], *qa, *rest[c.p :]]


def _order(a: TensorPart, b: TensorPart, c: TensorPart) -> list[int]:
    """Axes of a, after (items, channels), as (those of b, those of c).

    The indices of T(p_b + q_c, q_b + p_c) stand as (p_b, q_c, q_b, p_c); those of c as (p_c, q_c),
    each dual to one of a.
    """
    first = list(range(2, 2 + a.p + a.q))
    if a.p != b.p + c.q:  # orthogonal matrices: all indices are of one kind
        return first
    pb, qc = first[: b.p], first[b.p : a.p]
    qb, pc = first[a.p : a.p + b.q], first[a.p + b.q :]
    return [*pb, *qb, *pc, *qc]
