"""Networks between representations of a matrix group: exact, free, or with a prior."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.actions import Action, Declaration, uniform_tensors
from equivariant.errors import ConventionError, check_option
from equivariant.groups import O3, Group
from equivariant.nn.emlp.linear import DeclaredLinear, EquivariantLinear, ResidualLinear, Start
from equivariant.nn.emlp.tensor_blocks import TensorBilinear, TensorGate, tensor_parts
from equivariant.nn.frames.frame_average import cloud_frames
from equivariant.shapes import Float, Scalar

Weights = Literal["exact", "free", "residual"]


class TensorNetwork(nn.Module):
    """Blocks of a linear layer, a product and a gate between tensors; a linear layer at the end.

        block:   h = L x,   h ← h + W(h) h,   y = gate(h)

    "exact" weights commute with the group of the actions by construction (EMLP). "free" ones may be
    anything: with a :class:`equivariant.regularizers.SoftEquivariance` term over candidate groups
    this is the mixed-symmetry network, its gates with a leak. "residual" ones are exact plus a free
    rest (residual pathway prior), whose :meth:`prior` belongs to the loss.

    Args:
        act_in: Action on inputs, a sum of Tensors and Trivial of one group.
        act_out: Action on outputs, of the same group.
        width: Entries of hidden representations, see
            :func:`equivariant.actions.uniform_tensors`.
        layers: Linear layers, at least 1; the last is the output.
        weights: "exact", "free" or "residual".
        most: Largest rank of hidden tensors; None for no limit.
        leak: Whether gates have an entrywise path; None: where weights are not exact.
        start: Of free weights, see :class:`DeclaredLinear`.
        rest_group: Of residual weights: a group that the rest keeps.

    Raises:
        ConventionError: The actions have no group or two, or a number is out of range.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import O3
        >>> act_in = 5 * Tensors(O3(), 0) + 5 * Tensors(O3(), 1)
        >>> model = TensorNetwork(act_in, Tensors(O3(), 2), width=32, weights="exact")
        >>> model(torch.randn(8, 20)).shape
        torch.Size([8, 9])

    Source: Finzi, Welling, Wilson 2021; Finzi, Benton, Wilson 2021; Kim et al. 2023.
    """

    def __init__(
        self,
        act_in: Action,
        act_out: Action,
        *,
        width: int = 128,
        layers: int = 4,
        weights: Weights = "exact",
        most: int | None = 2,
        leak: bool | None = None,
        start: Start = "orthogonal",
        rest_group: Group | None = None,
    ) -> None:
        super().__init__()
        check_option(weights, ("exact", "free", "residual"), "weights")
        group = act_out.group if act_out.group is not None else act_in.group
        if group is None or layers < 1:
            raise ConventionError(
                expected="actions of a group and at least 1 layer", got=f"{group}, {layers}",
                argument="act_in", advice="Tensors(group, 1) are vectors of a group.",
            )  # fmt: skip
        self.act_in, self.act_out, self.weights = act_in, act_out, weights
        leaking = weights != "exact" if leak is None else leak

        def connect(a: Action, b: Action) -> nn.Module:
            if weights == "exact":
                return EquivariantLinear(a, b)
            if weights == "residual":
                return ResidualLinear(a, b, rest_group=rest_group)
            return DeclaredLinear(a, b, start=start)

        here = act_in
        blocks = []
        for _ in range(layers - 1):
            gate = TensorGate(uniform_tensors(group, width, most=most), leak=leaking)
            blocks.append(
                TensorBlock(connect(here, gate.act_in), TensorBilinear(gate.act_in), gate)
            )
            here = gate.act_out
        self.blocks = nn.Sequential(*blocks)
        self.last = connect(here, act_out)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., act_out.dim) of shape (..., act_in.dim)."""
        y: Tensor = self.last(self.blocks(x))
        return y

    def prior(self) -> Scalar:
        """What the loss gets beside the data: the residual prior, and the squares of leaks."""
        found = next(self.parameters()).new_zeros(())
        for module in self.modules():
            if isinstance(module, ResidualLinear):
                found = found + module.prior()
            elif isinstance(module, TensorGate) and module.leak is not None:
                found = found + module.leak.square()
        return found

    def declaration(self, signal: Tensor) -> Declaration:
        """Under which actions the network is meant to be equivariant."""
        return Declaration(self.act_in, self.act_out)


class TensorBlock(nn.Module):
    """A linear layer, a product added to its result, a gate.

    Args:
        linear: From any representation to that of the gate's inputs.
        product: A product of these with themselves.
        gate: The gate.
    """

    def __init__(self, linear: nn.Module, product: TensorBilinear, gate: TensorGate) -> None:
        super().__init__()
        self.linear, self.product, self.gate = linear, product, gate

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Shape (..., outputs) of shape (..., inputs)."""
        h = self.linear(x)
        y: Tensor = self.gate(h + self.product(h))
        return y


class PlainNetwork(nn.Sequential):
    """A perceptron with swish between two representations, which it does not respect.

    Args:
        act_in: Action on inputs.
        act_out: Action on outputs.
        width: Hidden units.
        layers: Linear layers, at least 1.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import O3
        >>> PlainNetwork(Tensors(O3(), 1), Tensors(O3(), 0), width=8)(torch.randn(2, 3)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self, act_in: Action, act_out: Action, *, width: int = 128, layers: int = 4
    ) -> None:
        sizes = [act_in.dim, *[width] * (layers - 1), act_out.dim]
        modules: list[nn.Module] = []
        for a, b in pairwise(sizes):
            modules += [nn.Linear(a, b), nn.SiLU()]
        super().__init__(*modules[:-1])


class TensorFrameAverage(nn.Module):
    """Any network made equivariant under O(3) by its mean over the frames of its input's vectors.

        f(x) = (1/|F|) Σ_{F ∈ F(x)} ρ_out(F) φ(ρ_in(F⁻¹) x)

    Frames are the principal axes of all vectors of x about the origin, with every choice of
    signs: 8. Exact where their three eigenvalues differ, discontinuous where two agree.

    Args:
        network: φ, from act_in.dim to act_out.dim numbers.
        act_in: A sum of Tensors and Trivial of O3() with at least one vector.
        act_out: Action of O3() on outputs.

    Raises:
        ConventionError: There is no vector among the inputs, or matrices are not 3 x 3.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import O3
        >>> act_in, act_out = 4 * Tensors(O3(), 1), Tensors(O3(), 2)
        >>> model = TensorFrameAverage(PlainNetwork(act_in, act_out, width=8), act_in, act_out)
        >>> model(torch.randn(2, 12)).shape
        torch.Size([2, 9])

    Source: Puny et al. 2022.
    """

    def __init__(self, network: nn.Module, act_in: Action, act_out: Action) -> None:
        super().__init__()
        vectors = [part for part in tensor_parts(act_in) if part.p + part.q == 1 and part.size == 3]
        if not vectors:
            raise ConventionError(
                expected="inputs with vectors of space", got=str(act_in), argument="act_in",
                advice="Frames are the principal axes of vectors.",
            )  # fmt: skip
        self.network, self.act_in, self.act_out = network, act_in, act_out
        self._vectors = vectors

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Shape (batch, act_out.dim) of shape (batch, act_in.dim)."""
        cloud = torch.cat([part.of(x) for part in self._vectors], -2)
        frames = cloud_frames(cloud, O3()).to(x.dtype)
        seen = self.act_in(frames.transpose(-1, -2), x.unsqueeze(1))
        y = self.network(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        found: Tensor = self.act_out(frames, y).mean(1)
        return found
