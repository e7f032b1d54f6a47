"""An energy of pictures that is least where they stand as in training: how far the pose is off."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Affine, Group, Sampler
from equivariant.nn.images.conv_net import check_images, map_norm
from equivariant.nn.images.pull_back import check_moves_the_plane, pull_back
from equivariant.shapes import Float, Images, Matrix, Scalar

CELLS = 5
"""Along each side: where something is reaches the linear maps, as well as what it is."""


@dataclass(frozen=True)
class PoseEnergyConfig:
    """A small network that guesses how far a picture has been moved, and how it is trained.

    Args:
        group: Of the motions: one that moves the plane, as :func:`equivariant.nn.pull_back` does.
        widths: Channels of its convolutions, at least one, each at least 1.
        hidden: Width of its layer after the convolutions, at least 1.
        channels: Channels of an image, at least 1.
        steps: Of training with Adam, at least 1; the rate falls along half a cosine.
        batch: Pictures in a step, at least 4.
        rate: First rate of training, positive.
    """

    group: Group = field(default_factory=lambda: Affine(2))
    widths: tuple[int, ...] = (16, 32)
    hidden: int = 48
    channels: int = 1
    steps: int = 3000
    batch: int = 64
    rate: float = 2e-3

    def build(self) -> PoseEnergy:
        """The network, with fresh weights: :func:`fit_energy` gives a trained one."""
        return PoseEnergy(self)


class PoseEnergy(nn.Module):
    """Energy of a picture: the expected squared distance of its pose from that of training.

        E(I) = Σ_k m_k(I)² + σ_k(I)²,   (p - e)_k / s_k ~ Normal(m_k(I), σ_k(I)²)

    where I shows p applied to a picture of training, k runs over the entries of p's matrix, and
    s_k is their standard deviation under the law of training. The network gives the mean m and
    the deviation σ of what it believes of p; E is the second moment of that belief. It is small
    where the picture certainly stands as pictures of training do, and not where it could have
    been turned one way or the other, whose mean would be zero.

    Each picture is treated by itself (layer normalization), and E is smooth but for the kinks of
    interpolation. It is an energy of poses, not a density of pictures: what is no picture of the
    training's kind has some energy too.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: A size out of range, or a group that does not move the plane.

    Example:
        >>> energy = PoseEnergyConfig(widths=(4,), hidden=8).build()
        >>> energy(torch.rand(3, 1, 28, 28)).shape
        torch.Size([3])
    """

    def __init__(self, config: PoseEnergyConfig | None = None) -> None:
        super().__init__()
        config = config or PoseEnergyConfig()
        _check(config)
        self.config = config
        convolutions: list[nn.Module] = []
        inputs = config.channels
        for width in config.widths:
            convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            convolutions += [convolution, map_norm(width, "layer"), nn.GELU()]
            convolutions.append(nn.AvgPool2d(2, ceil_mode=True))
            inputs = width
        self.convolutions = nn.Sequential(*convolutions)
        entries = config.group.matrix_size**2
        self.linear = nn.Sequential(
            nn.Linear(CELLS**2 * inputs, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, 2 * entries),
        )
        self.register_buffer("scale", torch.ones(entries))

    def forward(self, images: Images) -> Scalar:
        """Energies, shape (batch,), positive, without unit.

        Args:
            images: Shape (batch, channels, height, width), at least one pixel. Sides of 24 to 64
                pixels suit the network, which looks at them at half that resolution.

        Raises:
            ShapeError: Not images of this number of channels.
        """
        mean, log_deviation = self.belief(images)
        return (mean.square() + (2 * log_deviation).exp()).sum(1)

    def belief(
        self, images: Images
    ) -> tuple[Float[Tensor, "batch entries"], Float[Tensor, "batch entries"]]:
        """Means, and logarithms of standard deviations, of (p - e) / s.

        Raises:
            ShapeError: Not images of this number of channels.
        """
        check_images(images, self.config.channels)
        x = self.convolutions(avg_pool2d(images, 2, ceil_mode=True))
        numbers: Tensor = self.linear(adaptive_avg_pool2d(x, CELLS).flatten(1))
        mean, free = numbers.chunk(2, 1)
        # Deviations between exp(-5) and exp(3): no picture can outweigh a batch.
        return mean, 4 * torch.tanh(free / 4) - 1

    def surprise(self, images: Images, poses: Matrix) -> Scalar:
        """Negative log-likelihood of poses under the belief, up to a constant, shape (batch,).

            Σ_k ½ ((p - e)_k / s_k - m_k)² / σ_k² + log σ_k

        Args:
            images: Shape (batch, channels, height, width).
            poses: p, shape (batch, n, n).
        """
        mean, log_deviation = self.belief(images)
        off = (poses - torch.eye(poses.shape[-1]).to(poses)).flatten(1).to(mean)
        residual = (off / self.get_buffer("scale") - mean) * (-log_deviation).exp()
        return (0.5 * residual.square() + log_deviation).sum(1)


def fit_energy(
    images: Images,
    law: Sampler,
    *,
    near: Sampler | None = None,
    config: PoseEnergyConfig | None = None,
    seed: int = 0,
) -> PoseEnergy:
    """Train an energy on pictures that stand as they should, and no others.

    Every step draws pictures x, and poses p, half by ``law`` and half by ``near``, and minimizes
    the surprise of p at p·x. Three in four are shown through two interpolations, (p h⁻¹)·(h·x)
    with h by ``near``: what a canonicalizer looks at has been moved before.

    The same seed gives the same weights on one machine, whatever the global generators hold,
    which are left as they were.

    Args:
        images: Pictures in their canonical pose, shape (count, channels, height, width), at least
            one, floating point.
        law: Poses, over ``config.group`` or a group of the same matrices: as far as pictures will
            have been moved, or a little farther. Its weights are not used.
        near: Poses about the identity, where a descent ends; None takes ``law``.
        config: Shape and training of the network; None takes the default.
        seed: Of weights, pictures and poses.

    Returns:
        The network in evaluation mode, its weights without gradients.

    Raises:
        ConventionError: A size out of range, or laws over matrices of another size.
        ShapeError: Not images of this number of channels, or none.

    Example:
        >>> from equivariant.groups import NormalSampler
        >>> config = PoseEnergyConfig(widths=(4,), hidden=8, steps=2, batch=4)
        >>> law = NormalSampler(Affine(2), 0.3)
        >>> energy = fit_energy(torch.rand(5, 1, 28, 28), law, config=config)
        >>> energy(torch.rand(2, 1, 28, 28)).requires_grad
        False
    """
    config = config or PoseEnergyConfig()
    near = law if near is None else near
    _check_fit(images, (law, near), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        energy = PoseEnergy(config)
    spread = _poses(law, near, 1000, generator).flatten(1).std(0)
    # Entries that never move, such as a bottom row, have the scale 1.
    energy.get_buffer("scale").copy_(torch.where(spread > 1e-6, spread, 1.0))
    energy.to(images.device)
    optimizer = torch.optim.Adam(energy.parameters(), lr=config.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        poses = _poses(law, near, config.batch, generator)
        before = near.draw(config.batch, generator=generator).elements
        before[: config.batch // 4] = torch.eye(before.shape[-1])
        rows = torch.randint(len(images), (config.batch,), generator=generator)
        x = images[rows.to(images.device)]
        first = torch.linalg.inv(before).to(x)
        shown = pull_back(pull_back(x, first), (before @ torch.linalg.inv(poses)).to(x))
        loss = energy.surprise(shown, poses.to(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return energy.requires_grad_(False).eval()


def _poses(law: Sampler, near: Sampler, count: int, generator: torch.Generator) -> Tensor:
    """Half by each law, shape (count, n, n), float64."""
    far = law.draw(count - count // 2, generator=generator).elements
    return torch.cat([far, near.draw(count // 2, generator=generator).elements])


def _check(config: PoseEnergyConfig) -> None:
    sizes = (*config.widths, config.hidden, config.channels, config.steps)
    if not config.widths or min(sizes) < 1 or config.batch < 4 or not config.rate > 0:
        raise ConventionError(
            expected="at least one convolution, sizes and steps of at least 1, a batch of at least "
            "4, and a positive rate",
            got=str(config),
            argument="config",
            advice="The defaults train in a minute on one core.",
        )
    check_moves_the_plane(config.group)


def _check_fit(images: Tensor, laws: tuple[Sampler, Sampler], config: PoseEnergyConfig) -> None:
    check_images(images, config.channels)
    if not len(images):
        raise ShapeError(
            expected="at least one image",
            got=f"shape {tuple(images.shape)}",
            argument="images",
            advice="Pass the pictures of the training set, as they stand.",
        )
    for law in laws:
        if law.group.matrix_size != config.group.matrix_size:
            raise ConventionError(
                expected=f"a law over {config.group}, or a group of the same matrices",
                got=str(law.group),
                argument="law",
                advice="SemidirectSampler(law, shift) adds shifts to linear maps.",
            )
