"""A bound on the equivariance error of a whole network from the broken part of its layers."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.regularizers.soft_equivariance import SoftEquivariance
from equivariant.shapes import Float


def chain_bound(term: SoftEquivariance) -> Float[Tensor, " groups"]:
    """How far a chain of linear layers can be from each symmetry, from its weights alone.

        (E_g |f(g x) - g f(x)|²)^½ <= √2 Σ_l |W_l - P W_l|_F Π_{m≠l} |W_m|_op |x|

    over Haar measure of a compact group, for f = W_L φ W_{L-1} ... φ W_1 with orthogonal actions
    and an equivariant φ of Lipschitz constant 1 with φ(0) = 0, without biases: a telescoping sum
    in which the error of one layer, √2 |W - P W|_F in root mean square, goes through the others.
    What is between the layers cannot be looked at; that it fulfils this is on you.

    Args:
        term: Over a model whose declared layers are this chain, in the model's order.

    Returns:
        The factor before |x| for each candidate, shape (groups,), float64.

    Raises:
        ConventionError: It is no such term, a layer has more than one map, a candidate is not
            compact, or biases are not zero.
    """
    if not isinstance(term, SoftEquivariance):
        raise ConventionError(
            expected="a SoftEquivariance", got=type(term).__name__, argument="term",
            advice="SoftEquivariance(model, candidates) makes one of a model.",
        )  # fmt: skip
    maps, owners = [], []
    for one in term.stack.maps:
        W = one.read().detach().double()
        if one.act_in.dim == 1 and one.layer in owners and len(W) == 1:
            if bool((W != 0).any()):
                raise _refused(f"a bias that is not zero in {one.layer}")
            continue
        if len(W) != 1 or one.layer in owners:
            raise _refused(f"several maps in {one.layer}")
        owners.append(one.layer)
        maps.append(W[0])
    if not all(group.compact for group in term.candidates.values()):
        raise _refused("a group that is not compact")
    broken = term.stack.broken(term.stack.weights().detach().double()).sqrt()
    sizes = torch.stack([torch.linalg.matrix_norm(W, ord=2) for W in maps])
    found = torch.zeros(len(term.candidates), dtype=torch.float64)
    for k in range(len(maps)):
        others = torch.cat([sizes[:k], sizes[k + 1 :]]).prod()
        found = found + 2.0**0.5 * others.cpu() * broken[k].cpu()
    return found


def _refused(got: str) -> ConventionError:
    return ConventionError(
        expected="a chain of linear layers without biases, and compact groups", got=got,
        argument="term", advice="equivariance_error measures any network.",
    )  # fmt: skip
