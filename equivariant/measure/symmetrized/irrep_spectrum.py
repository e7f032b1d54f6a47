"""Which irreps the features of a layer are made of, by projection on characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, Group
from equivariant.harmonics.wigner import wigner_d
from equivariant.shapes import Float, Matrix

_DRAWS = 1000


@dataclass(frozen=True)
class IrrepSpectrum:
    """What :func:`irrep_spectrum` found.

    Args:
        shares: Of degree 0, 1, ... in the squared features, shape (degrees + 1,), float64.
        low: Lower ends of 95 % intervals over inputs.
        high: Upper ends.
        beyond: The share of all higher degrees together.
        evaluations: How often the model was evaluated at each input.
    """

    shares: Float[Tensor, " degrees"]
    low: Float[Tensor, " degrees"]
    high: Float[Tensor, " degrees"]
    beyond: float
    evaluations: int

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists and numbers, for JSON."""
        ends = {name: getattr(self, name).tolist() for name in ("shares", "low", "high")}
        return {**ends, "beyond": self.beyond, "evaluations": self.evaluations}

    def __str__(self) -> str:
        rows = zip(self.shares.tolist(), self.low.tolist(), self.high.tolist(), strict=True)
        lines = [
            f"degree {degree}: {100 * share:5.1f} %  ({100 * low:.1f} to {100 * high:.1f})"
            for degree, (share, low, high) in enumerate(rows)
        ]
        return "\n".join([*lines, f"beyond:   {100 * self.beyond:5.1f} %"])


def irrep_spectrum(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    action: Action,
    *,
    degrees: int = 4,
    layer: nn.Module | None = None,
    exact: int | None = None,
) -> IrrepSpectrum:
    """Measure how much of a layer's features moves as each irreducible representation.

    No representation has to be known of the features z. On the orbit of an input they are a
    function of the group, and its part of degree l is

        z_l = d_l ∫ χ_l(g) z(g⁻¹ x) dg,   share of l = E |z_l|² / E |z|²

    d_l the dimension and χ_l the character of the irrep. Degree 0 is what is invariant; an
    equivariant layer of irreps of degrees up to L has nothing beyond L; of a layer that breaks
    the symmetry the spectrum says how fast it does. Rotations of space (degrees l) and groups of
    one angle (frequencies m) are averaged by quadrature that is exact up to degree ``exact``.

    Args:
        f: Model in evaluation mode; its result is z unless ``layer`` is given.
        x: Inputs, shape (items, ...), at least 2.
        action: On inputs, of SO3() or of a compact group of dimension 1 whose angle has period 2π.
        degrees: Largest degree that is told apart, at least 0.
        layer: A module inside of f, whose output is z.
        exact: Largest degree of z that the averages are exact for; None for degrees + 4.

    Returns:
        Shares with bootstrap intervals over inputs; they and ``beyond`` sum to 1.

    Raises:
        ConventionError: Another group, or a number out of range.
        ShapeError: Fewer than 2 inputs, or z is no tensor with the batch axis first.

    Example:
        >>> from equivariant.actions import Vectors
        >>> x = torch.randn(4, 3, dtype=torch.float64)
        >>> outer = lambda x: (x[:, :, None] * x[:, None, :]).flatten(1)
        >>> irrep_spectrum(outer, x, Vectors(SO3()), degrees=3).shares.round(decimals=4).tolist()
        [0.3333, 0.0, 0.6667, 0.0]

    Source: arXiv 2603.24638 (of atomistic models).
    """
    found = irrep_spectra(
        f, x, action, degrees=degrees, layers=None if layer is None else {"": layer}, exact=exact
    )
    return found[""]


def irrep_spectra(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    action: Action,
    *,
    degrees: int = 4,
    layers: Mapping[str, nn.Module] | None = None,
    exact: int | None = None,
) -> dict[str, IrrepSpectrum]:
    """The same of several layers, from the same evaluations.

    Args:
        f: Model in evaluation mode.
        x: Inputs, shape (items, ...), at least 2.
        action: On inputs, see :func:`irrep_spectrum`.
        degrees: Largest degree that is told apart, at least 0.
        layers: Modules inside of f by name; None for the result of f alone, called "". Of a
            layer that runs several times the last output counts.
        exact: Largest degree of features that the averages are exact for; None for degrees + 4.

    Returns:
        One spectrum per name, in the order given.

    Raises:
        ConventionError: Another group, a number out of range, or a layer that does not run.
        ShapeError: Fewer than 2 inputs, or features that are no tensor with the batch axis first.

    Example:
        >>> from equivariant.actions import Vectors
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.Tanh()).eval()
        >>> found = irrep_spectra(model, torch.randn(4, 3), Vectors(SO3()), degrees=2,
        ...                       layers=dict(model.named_children()))
        >>> list(found), round(float(found["0"].shares.sum()), 4)
        (['0', '1'], 1.0)
    """
    group = action.group
    bound = degrees + 4 if exact is None else exact
    if degrees < 0 or bound < degrees:
        raise ConventionError(
            expected="degrees of at least 0, exact for these at least", got=f"{degrees}, {bound}",
            argument="degrees", advice="Leave exact out.",
        )  # fmt: skip
    if len(x) < 2:
        raise ShapeError(
            expected="at least 2 inputs", got=str(len(x)), argument="x",
            advice="Intervals are over inputs.",
        )  # fmt: skip
    elements, weights = _quadrature(group, bound)
    matrices = _irreps(group, elements, degrees)
    entries = torch.cat([m.flatten(1) for m in matrices], -1) * weights[:, None]
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for row, weight, features in zip(
        entries, weights, _features(f, x, action, elements, layers), strict=True
    ):
        for name, z in features.items():
            parts = row[:, None, None] * z
            square = weight * z.square().sum(-1)
            old = sums.get(name)
            sums[name] = (parts, square) if old is None else (old[0].add_(parts), old[1] + square)
    dims = [m.shape[-1] for m in matrices]
    return {name: _spectrum(*sums[name], dims, len(elements)) for name in sums}


def _spectrum(
    parts: Float[Tensor, "entries items features"],
    total: Float[Tensor, " items"],
    dims: list[int],
    evaluations: int,
) -> IrrepSpectrum:
    """Shares with intervals, from the averages of z times the entries of every irrep."""
    squares = parts.square().sum(-1).split([dim * dim for dim in dims])
    each = torch.stack([dim * s.sum(0) for dim, s in zip(dims, squares, strict=True)], -1)
    whole = float(total.mean()) or 1.0
    shares = each.mean(0) / whole
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(total), (_DRAWS, len(total)), generator=generator)
    bottom = total[chosen].mean(1, keepdim=True)
    drawn = each[chosen].mean(1) / torch.where(bottom > 0, bottom, 1.0)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype), dim=0)
    beyond = max(0.0, 1.0 - float(shares.sum())) if float(total.mean()) > 0 else 0.0
    return IrrepSpectrum(shares, low, high, beyond, evaluations)


def _quadrature(group: Group | None, exact: int) -> tuple[Matrix, Float[Tensor, " elements"]]:
    """Elements and weights that average products of matrix entries of degrees up to ``exact``."""
    steps = 2 * exact + 1
    turns = 2 * math.pi * torch.arange(steps, dtype=torch.float64) / steps
    if group == SO3():
        nodes, w = np.polynomial.legendre.leggauss(exact + 1)
        tilt = torch.from_numpy(np.arccos(nodes))
        z, y = torch.tensor([0.0, 0, 1]).double(), torch.tensor([0.0, 1, 0]).double()
        about_z, about_y = SO3().exp(turns[:, None] * z), SO3().exp(tilt[:, None] * y)
        g = (about_z[:, None, None] @ about_y[:, None] @ about_z).flatten(0, 2)
        weights = torch.from_numpy(w / 2)[None, :, None].expand(steps, -1, steps).flatten()
        return g, weights / steps**2
    if group is None or not group.compact or group.dim != 1:
        raise ConventionError(
            expected="SO3() or a compact group of one angle", got=str(group), argument="action",
            advice="Characters of other groups are not known here.",
        )  # fmt: skip
    g = group.exp(turns[:, None])
    return g, torch.full((steps,), 1.0 / steps, dtype=torch.float64)


def _irreps(group: Group | None, g: Matrix, degrees: int) -> list[Float[Tensor, "elements m m"]]:
    """Matrices of every irrep up to a degree at the elements; of an angle, in complex form, √ of
    their two real parts: cos and sin as one orthogonal 2 x 2 matrix."""
    if group == SO3():
        return [wigner_d(degree, g) for degree in range(degrees + 1)]
    turns = 2 * math.pi * torch.arange(len(g), dtype=torch.float64) / len(g)
    found = [torch.ones(len(g), 1, 1, dtype=torch.float64)]
    for m in range(1, degrees + 1):
        cos, sin = (m * turns).cos(), (m * turns).sin()
        matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        found.append(matrix / 2**0.5)  # two complex irreps, e^{imθ} and its conjugate, of dim 1
    return found


def _features(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    action: Action,
    g: Matrix,
    layers: Mapping[str, nn.Module] | None,
) -> Iterator[dict[str, Float[Tensor, "items features"]]]:
    """z of all layers, float64, at one moved batch of inputs after the other."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: seen.update({name: output})

    handles = [layer.register_forward_hook(keep(name)) for name, layer in (layers or {}).items()]
    try:
        with torch.no_grad():
            for one in g:
                seen.clear()
                result: Any = f(action(one.to(x).expand(len(x), *one.shape), x))
                found: dict[str, Any] = dict(seen) if layers else {"": result}
                missing = set(layers or ()) - set(found)
                if missing:
                    raise ConventionError(
                        expected="a layer that runs when f does",
                        got="one that does not" + "".join(f": {name}" for name in missing if name),
                        argument="layer", advice="Take it from the model itself.",
                    )  # fmt: skip
                yield {name: _per_item(z, len(x)) for name, z in found.items()}
    finally:
        for handle in handles:
            handle.remove()


def _per_item(z: Any, items: int) -> Float[Tensor, "items features"]:
    if not isinstance(z, Tensor) or z.ndim == 0 or len(z) != items:
        raise ShapeError(
            expected=f"features of shape ({items}, ...)", got=str(tuple(getattr(z, "shape", ()))),
            argument="f", advice="The batch axis comes first.",
        )  # fmt: skip
    return z.double().flatten(1).cpu()
