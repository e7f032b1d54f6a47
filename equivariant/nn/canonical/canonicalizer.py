"""Pictures moved to where an energy is least, and networks that look at them there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Affine, Group
from equivariant.nn.canonical.descent import DescentConfig, descend
from equivariant.nn.images.conv_net import check_images
from equivariant.nn.images.pull_back import check_moves_the_plane, pull_back
from equivariant.shapes import Float, Images, Matrix


@dataclass(frozen=True)
class CanonicalizerConfig:
    """Over which group an energy is minimized, and from where.

    Args:
        group: One that moves the plane: SO2(), Sim(2), GL(2), Affine(2), Semidirect(SL(2)), or
            SL(3) for homographies.
        rotations: Starts turned evenly all the way round, at least 1; 1 starts upright only. The
            group must hold them.
        scales: Each start magnified by each, positive; the group must hold them. (1.0,) holds
            no other.
        centered: Shift the starts so that they look at the mean position of |I| instead of the
            frame's centre, where the group holds translations.
        descent: Steps from each of the best starts.
    """

    group: Group = field(default_factory=lambda: Affine(2))
    rotations: int = 8
    scales: tuple[float, ...] = (1.0,)
    centered: bool = True
    descent: DescentConfig = field(default_factory=DescentConfig)

    def build(self, energy: nn.Module) -> EnergyCanonicalizer:
        """The canonicalizer of an energy."""
        return EnergyCanonicalizer(energy, self)


class EnergyCanonicalizer(nn.Module):
    """Pictures in the pose of least energy.

        c(I) = g⁻¹·I,   g = argmin_g E(g⁻¹·I)

    by gradient steps along the generators (:func:`equivariant.nn.canonical.descent.descend`)
    from several starts. If the minimum that is found is the only one, then c(h·I) = c(I) for
    every h, up to interpolation, the frame, and the last step: any network after it is
    invariant. Nothing assures that it is the only one, or found; so this declares nothing.
    Measure it.

    Elements are found without gradients and are the same in training and evaluation mode, at
    every call; gradients by the images pass through g⁻¹· alone, with g held.

    Args:
        energy: Images (batch, channels, height, width) to energies (batch,), differentiable by
            the images, each by itself. It is kept in evaluation mode, and its weights are not
            trained: see :func:`equivariant.nn.fit_energy`.
        config: Group and starts; None takes the default.

    Raises:
        ConventionError: A number out of range, a group that does not move the plane, or one that
            does not hold the starts.

    Example:
        >>> class Tilt(nn.Module):
        ...     def forward(self, images):
        ...         return images[..., :14, :].sum((1, 2, 3))  # least where the top is dark
        >>> from equivariant.groups import SO2
        >>> canonicalizer = CanonicalizerConfig(SO2()).build(Tilt())
        >>> picture = torch.zeros(1, 1, 28, 28)
        >>> picture[..., 4:8, 12:16] = 1.0
        >>> bool(canonicalizer(picture)[..., 16:, :].sum() > 15)
        True

    Source: Shumaylov et al. 2024 (arXiv 2410.02698), for the idea.
    """

    def __init__(self, energy: nn.Module, config: CanonicalizerConfig | None = None) -> None:
        super().__init__()
        config = config or CanonicalizerConfig()
        check_moves_the_plane(config.group)
        self.config, self.energy = config, energy.eval()
        self.register_buffer("starts", _starts(config), persistent=False)
        self._shifts = config.centered and _holds_translations(config.group)

    def train(self, mode: bool = True) -> EnergyCanonicalizer:
        """Sets the mode; the energy stays in evaluation mode."""
        super().train(mode)
        self.energy.eval()
        return self

    def forward(self, images: Images) -> Images:
        """The images in their pose of least energy, shape and dtype as given.

        Args:
            images: Shape (batch, channels, height, width), floating point, zero outside.

        Raises:
            ShapeError: Not images, or energies that are not one per image.
        """
        return pull_back(images, self.locate(images))

    def locate(self, images: Images) -> Float[Tensor, "batch n n"]:
        """The elements g of least energy, shape (batch, n, n), without gradients.

        Raises:
            ShapeError: Not images, or energies that are not one per image.
        """
        check_images(images)
        group = self.config.group
        with torch.inference_mode(False), torch.no_grad():
            pictures = images.detach().clone()
            wide = torch.promote_types(pictures.dtype, torch.float32)
            starts = self.get_buffer("starts").to(wide)
            shift = _to_the_mean(pictures.to(wide)) if self._shifts else None

            def energy(g: Matrix, item: Tensor) -> Tensor:
                seen = g if shift is None else shift[item] @ g
                values: Tensor = self.energy(pull_back(pictures[item], seen))
                if values.shape != item.shape:
                    raise ShapeError(
                        expected=f"one energy for each of {len(item)} images",
                        got=f"shape {tuple(values.shape)}",
                        argument="energy",
                        advice="Sum over everything but the first axis.",
                    )
                return values.to(wide)

            found, _ = descend(energy, group, starts, items=len(images), config=self.config.descent)
            return found if shift is None else shift @ found


class CanonicalizedNetwork(nn.Module):
    """A network on pictures that a canonicalizer has moved: f(I) = φ(c(I)).

    As invariant as the canonicalizer is. Training it trains φ, on canonical pictures.

    Args:
        canonicalizer: c, separately made.
        network: φ: images to anything. ``dim`` is its ``dim``.

    Example:
        >>> from equivariant.groups import SO2
        >>> from equivariant.nn import ConvNetConfig, PoseEnergyConfig
        >>> energy = PoseEnergyConfig(SO2(), widths=(4,)).build()
        >>> canonicalizer = CanonicalizerConfig(SO2(), rotations=4).build(energy)
        >>> model = CanonicalizedNetwork(canonicalizer, ConvNetConfig((8, 16)).build())
        >>> model(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 16])
    """

    def __init__(self, canonicalizer: EnergyCanonicalizer, network: nn.Module) -> None:
        super().__init__()
        self.canonicalizer, self.network = canonicalizer, network
        self.dim = getattr(network, "dim", None)

    def forward(self, images: Images) -> Tensor:
        """What the network makes of the canonical images.

        Raises:
            ShapeError: Not images that both can take.
        """
        result: Tensor = self.network(self.canonicalizer(images))
        return result


def _starts(config: CanonicalizerConfig) -> Tensor:
    """Rotations times scales, shape (starts, n, n), float64; the identity first of them."""
    if config.rotations < 1 or not config.scales or not min(config.scales) > 0:
        raise ConventionError(
            expected="at least one rotation, and scales that are positive, at least one",
            got=f"rotations={config.rotations}, scales={config.scales}",
            argument="config",
            advice="rotations=1 and scales=(1.0,) start upright.",
        )
    starts = torch.eye(config.group.matrix_size, dtype=torch.float64).repeat(
        config.rotations * len(config.scales), 1, 1
    )
    row = 0
    for scale in config.scales:
        for k in range(config.rotations):
            angle = 2 * math.pi * k / config.rotations
            c, s = scale * math.cos(angle), scale * math.sin(angle)
            starts[row, :2, :2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
            row += 1
    if not bool(config.group.contains(starts).all()):
        raise ConventionError(
            expected=f"starts in {config.group}",
            got=f"rotations={config.rotations}, scales={config.scales}",
            argument="config",
            advice="Only groups with scales have starts of other scales than 1.",
        )
    return starts


def _holds_translations(group: Group) -> bool:
    if group.matrix_size != 3:
        return False
    shift = torch.eye(3, dtype=torch.float64)
    shift[:2, 2] = torch.tensor([0.3, -0.2], dtype=torch.float64)
    return bool(group.contains(shift))


def _to_the_mean(images: Tensor) -> Tensor:
    """Translations by the mean position of |I|, zero for an empty image, shape (batch, 3, 3)."""
    height, width = images.shape[2:]
    half = 0.5 * min(height, width)
    y = (torch.arange(height).to(images) + 0.5 - 0.5 * height) / -half
    x = (torch.arange(width).to(images) + 0.5 - 0.5 * width) / half
    weight = images.abs().sum(1)
    total = weight.sum((1, 2)).clamp(min=torch.finfo(weight.dtype).tiny)
    mean = torch.stack([(weight * x).sum((1, 2)), (weight * y[:, None]).sum((1, 2))], -1)
    return Affine.join(torch.eye(2).to(images).expand(len(images), 2, 2), mean / total[:, None])
