"""A residual network of group convolutions, for images and for clouds of points."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn.functional import gelu

from equivariant.actions import Action, Declaration, ImageWarp, Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import GL, Group, Semidirect, SemidirectSampler
from equivariant.nn.lie.fields import LieField
from equivariant.nn.lie.group_convolution import GroupConv
from equivariant.nn.lie.kernels import KernelName
from equivariant.nn.lie.lifting import LiftConv
from equivariant.nn.lie.pooling import GroupPool, PoolName, VectorPool
from equivariant.nn.lie.residual_block import ChannelNorm, LieResidualBlock
from equivariant.nn.lie.samples import LieSamples, RelativeSamples
from equivariant.nn.lie.sampling import SamplingName, sampler_by_name
from equivariant.nn.points.layers import FeatureNorm
from equivariant.shapes import Float, Images


@dataclass(frozen=True)
class LieNetworkConfig:
    """A network that commutes with translations and a group of linear maps, by convolution.

    Args:
        group: H: GL(2), SL(2), ScaledRotations(2), SO2() or O2() for images; these, and GL(3),
            SL(3), ScaledRotations(3), SO3() or O3() for clouds. The network commutes with
            translations too; a group that holds them (E2(), SE3(), Affine(2), Sim(3)) is taken as
            its linear part.
        inputs: Channels of images, at least 1; 0 for clouds of points.
        outputs: Classes or other numbers that do not move; None gives the representation.
        width: Channels, at least 1.
        blocks: Residual blocks, at least 0.
        samples: Group elements in every layer, at least 1.
        samples_spread: How far their number varies in training: each call draws it from
            ``samples - samples_spread`` to ``samples + samples_spread``. Evenly spaced angles
            are whole multiples of 2π / samples apart, and kernels learn nothing in between; a
            network whose number varies can be asked with other numbers afterwards.
        sampling: Their law, see :func:`equivariant.nn.lie.sampling.sampler_by_name`.
        radius: Of the law, for stretches: h has singular values up to exp(radius + scale_radius).
        scale_radius: Of the law, for scales; None takes ``radius``.
        window: Radii of the group kernels' windows, over those of the law, positive. Two samples
            are up to 2 apart. A wider window takes noise away, as the weights of the samples in
            it become equal, and leaves more of the error at the edge of the sampled region.
        steps: Elements around each sample at which the first group convolution reads the lift,
            which makes it exactly equivariant; 0 reads the other samples.
        lift_radius: Of lifting kernels, in units of half the image's shorter side, or in the
            clouds' unit.
        conv_radius: Of the other kernels.
        stride: Of the lift, in pixels; a whole fraction of the image's sides.
        centers: Of clouds: places of the features.
        rank: Terms of each separable kernel.
        kernel: Of kernel networks: "siren" or "fourier".
        pool: Over places and samples: "energy", "max", "mean" or "softmax".
        vectors: Vectors in the representation, behind the ``width`` numbers that do not move.
        dropout: Before the outputs, in [0, 1).
        seed: Of the samples in evaluation mode. In training each call draws new ones from
            PyTorch's random numbers.
    """

    group: Group = field(default_factory=lambda: GL(2))
    inputs: int = 1
    outputs: int | None = 10
    width: int = 32
    blocks: int = 2
    samples: int = 10
    samples_spread: int = 0
    sampling: SamplingName = "stratified"
    radius: float = 0.4
    scale_radius: float | None = None
    window: float = 4.0
    steps: int = 0
    lift_radius: float = 0.2
    conv_radius: float = 0.5
    stride: int = 2
    centers: int = 32
    rank: int = 1
    kernel: KernelName = "fourier"
    pool: PoolName = "energy"
    vectors: int = 0
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.group, Group):
            raise ConventionError(
                expected="a group of linear maps", got=repr(self.group), argument="config.group",
                advice="GL(2), SL(2), ScaledRotations(2), SO2() or O2() for images, say.",
            )  # fmt: skip
        object.__setattr__(self, "group", self.group.linear_group or self.group)

    def build(self) -> LieNetwork:
        """The network, with fresh weights."""
        return LieNetwork(self)


class LieNetwork(nn.Module):
    """Lift, residual group convolutions, pooling over places and group, and a head.

        F_0 = gelu(norm(lift x)),   F_{l+1} = F_l + V gelu(U norm(K_l F_l)),
        y = pool F_L (and vectors),   outputs = head(y)

    All layers share one set of samples h_i. norm divides each channel by its root mean
    square, and nothing has a bias before the pool, so that an empty background stays 0 and
    every layer between the integrals commutes with the group exactly. The head starts with
    batch normalization.

    In evaluation mode the samples are those of ``config.seed``: the network is a function. What
    is left of its equivariance error is the noise of finitely many samples, the edge of the
    sampled region (not for rotations), and pixels. :meth:`declaration` says how it transforms, so
    ``equivariance_error(network, images)`` needs no more.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: A number out of range, or a group that does not fit the inputs.

    Example:
        >>> from equivariant.groups import SL
        >>> network = LieNetworkConfig(SL(2), width=8, blocks=1).build().eval()
        >>> network(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> network(torch.rand(2, 1, 28, 28), samples=32).shape
        torch.Size([2, 10])

    Source: Mironenco and Forré 2024, with Haar-distributed samples, weights, and kernels that
    factor.
    """

    def __init__(self, config: LieNetworkConfig | None = None) -> None:
        super().__init__()
        config = config or LieNetworkConfig()
        _check(config)
        self.config = config
        group, width = config.group, config.width
        self.law = sampler_by_name(
            config.sampling, group, radius=config.radius, scale_radius=config.scale_radius
        )
        self.lift = LiftConv(
            group, config.inputs, width, radius=config.lift_radius,
            stride=config.stride if config.inputs else 1, kernel=config.kernel,
        )  # fmt: skip
        self.norm = ChannelNorm(width)
        self.first = self._convolution() if config.steps else None
        self.blocks = nn.ModuleList(
            LieResidualBlock(self._convolution(), width) for _ in range(config.blocks)
        )
        self.pool = GroupPool(config.pool)
        self.vector_pool = VectorPool(group, width, config.vectors) if config.vectors else None
        self.represented = width + group.matrix_size * config.vectors
        self.head: nn.Module = nn.Identity()
        if config.outputs is not None:
            self.head = nn.Sequential(
                FeatureNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                nn.Dropout(config.dropout), nn.Linear(4 * width, config.outputs),
            )  # fmt: skip
        self.dim = self.represented if config.outputs is None else config.outputs

    def forward(
        self,
        signal: Images | Float[Tensor, "batch points n"],
        samples: int | LieSamples | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Outputs.

        Args:
            signal: Images (batch, inputs, height, width), sides multiples of the stride, or
                clouds (batch, points, n).
            samples: How many group elements, or which; None takes ``config.samples``. The
                weights do not depend on it.

        Returns:
            Shape (batch, outputs), or (batch, represented) where ``outputs`` is None.

        Raises:
            ShapeError: The signal is neither, or does not fit the stride.
            ConventionError: A signal of integers, or of another dtype than the weights.
        """
        weights, given = self.norm.gain.dtype, cast(Any, signal)
        if not isinstance(given, Tensor) or given.dtype != weights:
            got = given.dtype if isinstance(given, Tensor) else f"{type(given).__name__}, no tensor"
            raise ConventionError(
                expected=f"a tensor of the dtype of the weights, {weights}", got=str(got),
                argument="signal", advice="Convert the signal, or the network: network.double().",
            )  # fmt: skip
        y = self.represent(signal, samples)
        if self.config.outputs is None:
            return y
        outputs: Tensor = self.head(y[..., : self.config.width])
        return outputs

    def represent(
        self,
        signal: Images | Float[Tensor, "batch points n"],
        samples: int | LieSamples | None = None,
    ) -> Float[Tensor, "batch represented"]:
        """Representations: ``width`` numbers that do not move, then ``vectors`` vectors that do.

        Args:
            signal: As in :meth:`forward`.
            samples: As in :meth:`forward`.

        Returns:
            Shape (batch, width + n · vectors).
        """
        last = self.features(signal, samples)
        invariant: Tensor = self.pool(last)
        if self.vector_pool is None:
            return invariant
        return torch.cat([invariant, self.vector_pool(last).flatten(1)], -1)

    def features(
        self,
        signal: Images | Float[Tensor, "batch points n"],
        samples: int | LieSamples | None = None,
    ) -> LieField:
        """The last field on places and group."""
        config = self.config
        if not isinstance(samples, LieSamples):
            samples = self.draw(self._count() if samples is None else samples)
        centers = config.centers if config.inputs == 0 else None
        if self.first is None:
            lifted = self._activated(self.lift(signal, samples, centers=centers))
        else:
            around = RelativeSamples(samples, self._draw(config.steps, config.seed))
            read = self._activated(self.lift(signal, around.product, centers=centers))
            lifted = self._activated(self.first(read, around))
        for block in self.blocks:
            lifted = block(lifted)
        return lifted

    def draw(self, count: int) -> LieSamples:
        """Samples of the network's law: new ones in training, those of the seed otherwise.

        Args:
            count: How many, at least 1.

        Raises:
            ConventionError: Fewer than 1, or no whole number.
        """
        if isinstance(count, bool) or not _whole(count, 1):
            raise ConventionError(
                expected="a whole number of at least 1, or LieSamples", got=repr(count),
                argument="samples", advice="Layers integrate over the group by these elements.",
            )  # fmt: skip
        seed = self.config.seed
        if self.training:
            seed = int(torch.randint(2**62, (), dtype=torch.int64))
        drawn: LieSamples = self._draw(count, seed)
        return drawn

    def _count(self) -> int:
        """How many elements this call has."""
        usual, spread = self.config.samples, self.config.samples_spread
        if not (self.training and spread):
            return usual
        return int(torch.randint(usual - spread, usual + spread + 1, ()))

    @torch.no_grad()
    def renormalize(
        self,
        signals: Images | Float[Tensor, "batch points n"],
        samples: int | LieSamples | None = None,
    ) -> None:
        """Set the statistics of normalization to those of some signals at given samples.

        In training, features are divided by their mean over the batch, which has the noise of
        one draw of the samples; in evaluation by running means over draws. Means of squares
        depend on how many samples there are, so a network that is asked with another number than
        it was trained with needs the statistics of that number. Weights stay what they are, and
        labels are not looked at.

        Args:
            signals: As in :meth:`forward`, at least two, such as a few hundred of training.
            samples: As in :meth:`forward`; a number stands for the samples of evaluation.

        Raises:
            ConventionError: Fewer than two signals.
        """
        if len(signals) < 2:
            raise ConventionError(
                expected="at least 2 signals", got=str(len(signals)), argument="signals",
                advice="A few hundred of those that the network was trained on.",
            )  # fmt: skip
        if not isinstance(samples, LieSamples):
            samples = self._draw(samples or self.config.samples, self.config.seed)
        training = self.training
        norms = [m for m in self.modules() if isinstance(m, ChannelNorm | nn.BatchNorm1d)]
        momenta = [norm.momentum for norm in norms]
        try:
            for norm in norms:
                norm.momentum = 1.0
            self.train()
            self(signals, samples)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
            self.train(training)

    def declaration(self, signal: Tensor) -> Declaration:
        """How inputs and outputs move, and the law of the elements that are asked about.

        Images move as pictures, clouds as points; outputs do not, and vectors of a
        representation move by the linear part. The law is Haar measure up to half the radii of
        the network's samples, with shifts of up to a tenth of the frame.

        Args:
            signal: An input, whose size is looked at.
        """
        config = self.config
        motions = Semidirect(config.group)
        act_in: Action = Points(motions)
        if config.inputs:
            size = (int(signal.shape[-2]), int(signal.shape[-1]))
            act_in = ImageWarp(motions, size, channels=config.inputs)
        act_out: Action = Trivial(config.width if config.outputs is None else config.outputs)
        if config.outputs is None and config.vectors:
            act_out = act_out + Vectors(motions, config.vectors)
        scale = config.radius if config.scale_radius is None else config.scale_radius
        linear = sampler_by_name(
            "independent", config.group, radius=config.radius / 2, scale_radius=scale / 2
        )
        return Declaration(act_in, act_out, SemidirectSampler(linear, shift=0.1))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _draw(self, count: int, seed: int) -> LieSamples:
        generator = torch.Generator().manual_seed(seed)
        with temporarily_clear_interpreter_stack():  # the same for all that torch.vmap runs over
            return LieSamples.draw(self.law, count, generator=generator)

    def _activated(self, values: LieField) -> LieField:
        return values.with_values(gelu(self.norm(values.values)))

    def _convolution(self) -> GroupConv:
        config = self.config
        scale = config.radius if config.scale_radius is None else config.scale_radius
        return GroupConv(
            config.group, config.width, config.width, radius=config.conv_radius,
            group_radius=config.window * config.radius,
            group_scale_radius=config.window * scale, rank=config.rank, kernel=config.kernel,
        )  # fmt: skip


_LEAST = {"inputs": 0, "width": 1, "blocks": 0, "samples": 1, "samples_spread": 0, "steps": 0,
          "stride": 1, "centers": 1, "rank": 1, "vectors": 0}  # fmt: skip


def _check(config: LieNetworkConfig) -> None:
    wrong = [f"{name}={getattr(config, name)}" for name, least in _LEAST.items()
             if not _whole(getattr(config, name), least)]  # fmt: skip
    if _whole(config.samples, 1) and config.samples_spread >= config.samples:
        wrong.append(f"samples_spread={config.samples_spread} with samples={config.samples}")
    if config.outputs is not None and not _whole(config.outputs, 1):
        wrong.append(f"outputs={config.outputs}")
    if not (0 <= config.dropout < 1 and config.window > 0):
        wrong.append(f"dropout={config.dropout}, window={config.window}")
    if wrong:
        raise ConventionError(
            expected="whole numbers of at least 1 (inputs, blocks, samples_spread, steps and "
            "vectors: 0), samples_spread below samples, a positive window, and dropout in [0, 1)",
            got=", ".join(wrong), argument="config",
            advice="steps=0 and vectors=0 leave those parts out; inputs=0 is for clouds.",
        )  # fmt: skip
    if config.inputs and config.group.matrix_size != 2:
        raise ConventionError(
            expected="a group of linear maps of the plane for images",
            got=str(config.group), argument="config.group",
            advice="Set inputs=0 for clouds of points in space.",
        )  # fmt: skip
    if config.outputs is not None and config.vectors:
        raise ConventionError(
            expected="vectors in a representation",
            got=f"vectors={config.vectors} with outputs={config.outputs}",
            argument="config.vectors",
            advice="Set outputs=None; the head reads only what does not move.",
        )  # fmt: skip


def _whole(number: Any, least: int) -> bool:
    """Whether a number is whole and not below another."""
    return isinstance(number, Integral) and int(number) >= least
