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


class TensorBilinear(nn.Module):
    """Products of the tensors of x with one another, contracted: y = scale W(x) x.

        y_b,o = Σ_c Σ_i Σ_k w_oik a_k : x_c,i

    For every kind of output b and of input c a third kind a of x has just the indices of a map
    from c to b, T(p_b + q_c, q_b + p_c), and is applied as one. Weights mix channels only, so the
    product commutes with the group, and for groups of orthogonal matrices p and q count as one. To
    keep weights few, of a kind with more tensors than entries only that many enter as a.

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

    def __init__(self, action: Action, out: Action | None = None, *, scale: float = 0.1) -> None:
        super().__init__()
        self.action, self.out = action, action if out is None else out
        self.scale = scale
        self._in, self._out = tensor_parts(action), tensor_parts(self.out)
        same = all(isinstance(one, Trivial) or one.orthogonal for one, _ in action.pieces())
        self._paths: list[tuple[TensorPart, TensorPart, TensorPart, int]] = []
        weights = []
        for b in self._out:
            own = [
                (a, c, min(a.channels, a.size ** (a.p + a.q)))
                for c in self._in
                for a in self._in
                if a.p + a.q and _maps(a, b, c, same)
            ]
            inputs = sum(c.channels * used for _, c, used in own)
            for a, c, used in own:
                self._paths.append((a, b, c, used))
                normal = torch.randn(b.channels, used, c.channels) / inputs**0.5
                weights.append(nn.Parameter(normal))
        self.weights = nn.ParameterList(weights)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., out.dim) of shape (..., action.dim)."""
        batch = x.shape[:-1]
        flat = x.reshape(batch.numel(), x.shape[-1])
        y = flat.new_zeros(len(flat), self.out.dim)
        results: dict[int, Tensor] = {}
        for weight, (a, b, c, used) in zip(self.weights, self._paths, strict=True):
            rows, columns = b.size ** (b.p + b.q), c.size ** (c.p + c.q)
            left = a.of(flat)[:, :used].permute(0, 1, *_order(a, b, c))
            matrices = left.reshape(len(flat), used * rows, columns)
            right = flat[:, c.rows].unflatten(-1, (c.channels, columns))
            applied = matrices @ right.transpose(1, 2)  # (items, used · rows, channels of c)
            applied = applied.unflatten(1, (used, rows)).permute(0, 2, 1, 3).flatten(2)
            mixed = (applied @ weight.flatten(1).T).transpose(1, 2).flatten(1)
            at = b.rows.start
            results[at] = results[at] + mixed if at in results else mixed
        starts = sorted(results)
        if starts:
            y = torch.cat([results.get(b.rows.start, y[:, b.rows]) for b in self._out], -1)
        return self.scale * y.reshape(*batch, self.out.dim)

    def extra_repr(self) -> str:
        return f"{len(self._paths)} paths, scale={self.scale}"


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
