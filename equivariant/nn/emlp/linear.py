"""Affine layers between representations: free, exactly equivariant, or an exact one with a rest."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from equivariant.actions import Action, EquivariantMaps, Trivial
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.shapes import Float, Scalar

Start = Literal["plain", "orthogonal", "nearly", "half", "scaled"]


class DeclaredLinear(nn.Linear):
    """A free affine layer that knows which representations it connects.

    The layer of mixed-symmetry networks: nothing holds it equivariant but a
    :class:`equivariant.regularizers.SoftEquivariance` term, which finds it by ``act_in`` and
    ``act_out``.

    Args:
        act_in: Action on inputs.
        act_out: Action on outputs.
        start: "plain" as torch.nn.Linear; "orthogonal" W; "nearly": P W + 1e-3 W; "half":
            ½ P W + ½ W, P on the maps that commute with the actions' group; "scaled": P W made as
            long as W, plus 1e-3 W, which learns sooner where equivariant maps are few. Biases
            start uniform in [0, 1) / √outputs.

    Raises:
        ConventionError: Another word.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> layer = DeclaredLinear(2 * Tensors(SO3(), 1), Tensors(SO3(), 1))
        >>> layer(torch.randn(8, 6)).shape
        torch.Size([8, 3])

    Source: Kim et al. 2023 and published code.
    """

    def __init__(self, act_in: Action, act_out: Action, *, start: Start = "orthogonal") -> None:
        if start not in ("plain", "orthogonal", "nearly", "half", "scaled"):
            raise ConventionError(
                expected="plain, orthogonal, nearly, half or scaled", got=repr(start),
                argument="start", advice="orthogonal is the paper's for small tasks.",
            )  # fmt: skip
        super().__init__(act_in.dim, act_out.dim)
        self.act_in, self.act_out = act_in, act_out
        with torch.no_grad():
            self.bias.uniform_(0.0, act_out.dim**-0.5)
            if start == "orthogonal":
                nn.init.orthogonal_(self.weight)
            elif start != "plain":
                nearest = EquivariantMaps(act_in, act_out).projection(self.weight)
                free = self.weight.clone()
                if start == "scaled" and bool((nearest != 0).any()):
                    nearest = nearest * (free.norm() / nearest.norm())
                self.weight.copy_(
                    0.5 * (nearest + free) if start == "half" else nearest + 1e-3 * free
                )


class EquivariantLinear(nn.Module):
    """An affine layer that commutes with a group exactly: W = Σ_r w_r Q_r, b = Σ_s b_s q_s.

    Q is the orthonormal basis of :class:`equivariant.actions.EquivariantMaps`, q that of the
    invariant vectors of the output.

    Args:
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.

    Raises:
        ConventionError: The actions have no group or two, or are not linear.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> act = 2 * Tensors(SO3(), 1)
        >>> layer, x = EquivariantLinear(act, act).double(), torch.randn(5, 6).double()
        >>> g = SO3().sample(5, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(layer(act(g, x)), act(g, layer(x))))
        True

    Source: Finzi, Welling, Wilson 2021, section 5.
    """

    def __init__(self, act_in: Action, act_out: Action) -> None:
        super().__init__()
        self.act_in, self.act_out = act_in, act_out
        self._maps = EquivariantMaps(act_in, act_out)
        group = self._maps.group
        self._biases = EquivariantMaps(Trivial(1, group), act_out)
        weight = torch.empty(act_out.dim, act_in.dim)
        nn.init.orthogonal_(weight)
        bias = torch.empty(act_out.dim, 1).uniform_(0.0, act_out.dim**-0.5)
        # Of a random matrix the share rank / dim is left: its length is restored.
        share = max(self._maps.rank, 1) / weight.numel()
        # Where nothing is equivariant there is no parameter: optimizers do not like empty ones.
        self.coefficients = self.bias_coefficients = None
        if self._maps.rank:
            self.coefficients = nn.Parameter(self._maps.coefficients(weight) / share**0.5)
        if self._biases.rank:
            self.bias_coefficients = nn.Parameter(self._biases.coefficients(bias))
        self._like: Tensor
        self.register_buffer("_like", torch.zeros(0), persistent=False)

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """W, made anew from its coefficients."""
        return self._maps.assemble(self._like if self.coefficients is None else self.coefficients)

    @property
    def bias(self) -> Float[Tensor, " outputs"]:
        """b."""
        given = self._like if self.bias_coefficients is None else self.bias_coefficients
        return self._biases.assemble(given).squeeze(-1)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., act_out.dim) of shape (..., act_in.dim)."""
        return linear(x, self.weight, self.bias)


class ResidualLinear(nn.Module):
    """An exact layer plus a free one that a prior keeps small: W = Σ w_r Q_r + W'.

    The residual pathway prior; W' starts a thousandth of its usual size. With ``rest_group`` W'
    itself is projected on the maps that commute with a subgroup, so that at least this one holds.

    Args:
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.
        rest_group: Subgroup with matrices of the same size, or None.

    Raises:
        ConventionError: As :class:`EquivariantLinear`, or the subgroup does not fit.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> layer = ResidualLinear(Tensors(SO3(), 1), Tensors(SO3(), 1))
        >>> layer.prior().item() > 0
        True

    Source: Finzi, Benton, Wilson 2021; Kim et al. 2023 (mixed).
    """

    def __init__(self, act_in: Action, act_out: Action, *, rest_group: Group | None = None) -> None:
        super().__init__()
        self.act_in, self.act_out = act_in, act_out
        self.exact = EquivariantLinear(act_in, act_out)
        self.rest = nn.Linear(act_in.dim, act_out.dim)
        with torch.no_grad():
            self.rest.weight.mul_(1e-3)
            self.rest.bias.mul_(1e-3)
        self._rest_maps = self._rest_biases = None
        if rest_group is not None:
            into, out = act_in.under(rest_group), act_out.under(rest_group)
            self._rest_maps = EquivariantMaps(into, out)
            self._rest_biases = EquivariantMaps(Trivial(1, rest_group), out)

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """W, the sum of both parts."""
        rest = self.rest.weight
        return self.exact.weight + (self._rest_maps.projection(rest) if self._rest_maps else rest)

    @property
    def bias(self) -> Float[Tensor, " outputs"]:
        """b, the sum of both parts."""
        rest: Tensor = self.rest.bias
        if self._rest_biases:
            rest = self._rest_biases.projection(rest[:, None]).squeeze(-1)
        return self.exact.bias + rest

    def prior(self, *, exact: float = 1e-5, rest: float = 1.0) -> Scalar:
        """Squared sizes of both parts with the weights of the prior, to add to the loss."""
        kept = sum(
            (p.square().sum() for p in self.exact.parameters()), self.rest.weight.new_zeros(())
        )
        free = self.rest.weight.square().sum() + self.rest.bias.square().sum()
        return exact * kept + rest * free

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., act_out.dim) of shape (..., act_in.dim)."""
        return linear(x, self.weight, self.bias)
