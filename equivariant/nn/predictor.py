"""Predictors that read the group element as one more input."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.nn.hypernetwork import Conditioning, element_features
from equivariant.shapes import Matrix, Vector


class MLPPredictor(Action):
    """ρ(g) z = network([c(g), z]): a perceptron that may use the element's features, or not.

    Layers are linear with rectifiers between them, each ``hidden`` wide but the last. Unlike a
    hypernetwork it can ignore g, and in training it may: see
    :func:`equivariant.measure.pair_error`, whose ``unmoved`` is what ignoring gives. Not linear,
    and no group action: how far the law holds is measured.

    Args:
        group: SO3, Spin3, Translation, or a product of them.
        dim: Width of the vectors.
        conditioning: Features of the element, as in :class:`Hypernetwork`; None reads z alone,
            as the predictors of BYOL and SimSiam do.
        layers: At least 1; 1 is a linear map of [c(g), z] with a bias.
        hidden: Width between layers; None takes ``dim``.
        normalize: Whether batch normalization stands before each rectifier.

    Raises:
        ConventionError: Fewer than 1 layer, or a hidden width below 1.

    Example:
        >>> from equivariant.groups import SO3
        >>> predict = MLPPredictor(SO3(), 16, layers=2)
        >>> predict(SO3().identity(5, dtype=torch.float32), torch.randn(5, 16)).shape
        torch.Size([5, 16])

    Source: Garrido et al. 2023, published code (``--predictor-type mlp``); Devillers and Lefort
    2023; Grill et al. 2020 (without c, normalized).
    """

    def __init__(
        self,
        group: Group,
        dim: int,
        *,
        conditioning: Conditioning | None = "quaternion",
        layers: int = 1,
        hidden: int | None = None,
        normalize: bool = False,
    ) -> None:
        super().__init__(group, dim)
        hidden = dim if hidden is None else hidden
        if min(layers, hidden) < 1:
            raise ConventionError(
                expected="at least 1 layer, and a hidden width of at least 1",
                got=f"layers={layers}, hidden={hidden}", argument="layers",
                advice="The published ablation has one layer.",
            )  # fmt: skip
        self.conditioning: Conditioning | None = conditioning
        self._conditioned_on = group
        read = 0
        if conditioning is not None:
            read = element_features(group, group.identity(), conditioning).shape[-1]
        widths = [read + dim, *[hidden] * (layers - 1), dim]
        parts: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(widths), 1):
            parts.append(nn.Linear(before, after))
            if place < layers:
                parts += [nn.BatchNorm1d(after)] if normalize else []
                parts.append(nn.ReLU())
        self.network = nn.Sequential(*parts)

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        batch = torch.broadcast_shapes(g.shape[:-2], z.shape[:-1])
        read = z.expand(*batch, self.dim)
        if self.conditioning is not None:
            features = element_features(self._conditioned_on, g, self.conditioning).to(z.dtype)
            read = torch.cat([features.expand(*batch, -1), read], -1)
        y: Tensor = self.network(read.reshape(-1, read.shape[-1]))
        return y.reshape(*batch, self.dim)

    def matrix(self, g: Matrix) -> Tensor:
        """Refused: the map is not linear.

        Raises:
            ConventionError: Always.
        """
        raise ConventionError(
            expected="an action that is linear in z", got="a perceptron", argument="g",
            advice="Hypernetwork writes matrices.",
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, conditioning={self.conditioning}"
