"""Whitening of embeddings in groups of channels, with a gradient at repeated eigenvalues."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.actions import IrrepsAction
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3
from equivariant.losses.checks import (
    check_count,
    check_paired,
    check_positive,
    check_rows,
    check_share,
)
from equivariant.losses.columns.inverse_roots import inverse_root, newton_root
from equivariant.losses.columns.terms import alignment
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Float

WhiteningMethod = Literal["zca", "cholesky", "newton"]


@in_full_precision
def whiten(
    z: Float[Tensor, "n d"],
    *,
    groups: int = 1,
    eps: float = 1e-5,
    method: WhiteningMethod = "zca",
    shuffle: bool = False,
    gradient: bool = True,
    irreps: str | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n d"]:
    """Centre the batch and give every group of channels the unit covariance.

        z_w = (z - mean z) Wᵀ,   W Cov Wᵀ = I,   Cov = (1/N) Σ (z - mean)(z - mean)ᵀ + eps I

    "zca": W = U Λ^(-1/2) Uᵀ, the symmetric root, closest to z. Its gradient is the Fréchet
    derivative in the form of Daleckii and Krein, Γ_ij = -1/(√λ_i √λ_j (√λ_i + √λ_j)), which has
    no gap between eigenvalues in a denominator: finite when they repeat. It is differentiable
    once; a second differentiation raises RuntimeError. "cholesky": W = L⁻¹ with Cov = L Lᵀ,
    a triangular W that depends on the order of channels. "newton": the symmetric root by
    iterated products, for devices on which eigenvectors are slow; differentiable twice.

    With groups = D every channel is standardized: batch norm without affine part. The
    statistics are those of the rows given; with several processes pass ``collect(z)``.

    Args:
        z: Shape (N, D), N >= 2. With N <= D/groups the covariance is singular and only the
            directions that the batch spans reach variance 1.
        groups: Number of groups of D/groups consecutive channels; divides D.
        eps: Added to the eigenvalues, above 0.
        method: "zca", "cholesky" or "newton".
        shuffle: Permute the channels at random, whiten, permute back: random groups.
        gradient: Whether W has a gradient; without, it is a constant (the mean keeps its own).
        irreps: Layout of the columns in e3nn's notation, if they transform under rotations.
            Components of a degree above 0 may not be whitened one by one.
        generator: Source of the permutation; None takes torch's own.

    Returns:
        Shape (N, D), float32 or wider.

    Raises:
        ShapeError: Fewer than two rows, or groups does not divide D.
        ConventionError: eps is not positive, the method is unknown, or irreps hold l > 0.

    Example:
        >>> z = torch.randn(64, 6, dtype=torch.float64)
        >>> w = whiten(z, groups=2, eps=1e-12)
        >>> torch.allclose(w[:, :3].T @ w[:, :3] / 64, torch.eye(3, dtype=torch.float64))
        True

    Source: Zhuo et al. 2023 (shuffled groups); Ermolov et al. 2021 (Cholesky).
    """
    check_rows(z, argument="z")
    _check_layout(z.shape[1], groups, eps, method, irreps)
    order = _draw_order(z, generator) if shuffle else None
    if order is not None:
        z = z[:, order]
    mean, covariance = _moments(z, groups)
    if not gradient:
        covariance = covariance.detach()
    white = _apply(z - mean, _root(covariance, eps, method))
    return white if order is None else white[:, order.argsort()]


def shuffled_whitenings(
    z: Float[Tensor, "n d"],
    *,
    copies: int = 3,
    groups: int = 1,
    eps: float = 1e-5,
    method: WhiteningMethod = "zca",
    gradient: bool = True,
    irreps: str | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "copies n d"]:
    """Several copies of one batch, each whitened in its own random groups of channels.

    Copies of a row are positives of one another: L = NT(z⁽¹⁾, z⁽²⁾) + NT(z⁽¹⁾, z⁽³⁾).

    Args:
        z: Shape (N, D), N >= 2.
        copies: Number of copies, at least 1.
        groups: As for :func:`whiten`, and so are eps, method, gradient and irreps. With one
            group and "zca" all copies are equal.
        generator: Source of the permutations; None takes torch's own.

    Returns:
        Shape (copies, N, D).

    Raises:
        ShapeError: As :func:`whiten`.
        ConventionError: As :func:`whiten`, or copies is below 1.

    Example:
        >>> shuffled_whitenings(torch.randn(16, 6), copies=3, groups=2).shape
        torch.Size([3, 16, 6])

    Source: Zhuo et al. 2023, shuffled group whitening.
    """
    check_count(copies, "copies", "Three copies give two pairs of positives.")
    return torch.stack(
        [
            whiten(
                z,
                groups=groups,
                eps=eps,
                method=method,
                shuffle=True,
                gradient=gradient,
                irreps=irreps,
                generator=generator,
            )
            for _ in range(copies)
        ]
    )


@in_full_precision
def w_mse(
    u: Float[Tensor, "n d"],
    v: Float[Tensor, "m d"],
    *,
    groups: int = 1,
    eps: float = 1e-5,
    method: WhiteningMethod = "cholesky",
    rows: int | None = None,
    irreps: str | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared distance of two views, each whitened and then normalized to unit rows.

        L = mean_i | û_i - v̂_i |²,   û = unit(whiten(u)),   v̂ = unit(whiten(v))

    Args:
        u: Shape (N, D), N >= 2.
        v: Shape (N, D); row i is the other view of row i of u. Whitened on its own.
        groups: As for :func:`whiten`, and so are eps, method and irreps.
        rows: Whiten in random parts of this many rows (the same of both views), which adds
            noise against collapse; divides N. None whitens the batch at once.
        generator: Source of the parts; None takes torch's own.

    Returns:
        A scalar in [0, 4].

    Raises:
        ShapeError: u and v differ in shape, rows does not divide N, or as :func:`whiten`.
        ConventionError: As :func:`whiten`.

    Example:
        >>> u = torch.randn(32, 4, dtype=torch.float64)
        >>> bool(w_mse(u, u @ torch.diag(torch.tensor([1.0, 2, 3, 4]).double())) < 1e-6)
        True

    Source: Ermolov et al. 2021 (W-MSE).
    """
    check_paired(u, v)
    if rows is not None and (rows < 2 or len(u) % rows):
        raise ShapeError(
            expected=f"a divisor of the {len(u)} rows, at least 2",
            got=str(rows),
            argument="rows",
            advice="Choose a part that divides the batch, at least twice D/groups.",
        )
    parts: tuple[Tensor | slice, ...] = (slice(None),)
    if rows is not None:
        parts = _draw_order(u.T, generator).split(rows)
    pairs = [
        tuple(
            whiten(side[part], groups=groups, eps=eps, method=method, irreps=irreps)
            for side in (u, v)
        )
        for part in parts
    ]
    return alignment(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))


class Whitening(nn.Module):
    """Whitening with running statistics, which replace those of the batch in evaluation.

    In training the output is ``whiten(z)`` and the running moments follow the batch,
    running ← (1 - momentum) running + momentum · batch, the covariance with divisor N - 1. In
    evaluation every row is mapped by them alone, so a batch of one is fine. With groups = dim this
    is ``BatchNorm1d(dim, affine=False)``. Groups are shuffled in training only; the running
    covariance is that of the groups in order.

    Args:
        dim: D, the number of channels.
        groups: Number of groups; divides dim.
        eps: Added to the eigenvalues, above 0.
        method: As for :func:`whiten`.
        momentum: Weight of the new batch, in [0, 1].
        shuffle: Random groups in training.
        irreps: As for :func:`whiten`.

    Raises:
        ShapeError: groups does not divide dim; in the call: another number of columns, or, in
            training, fewer than two rows.
        ConventionError: eps, momentum, method or irreps are not as above.

    Example:
        >>> layer = Whitening(6, groups=2)
        >>> layer(torch.randn(16, 6)).shape, layer.eval()(torch.randn(1, 6)).shape
        (torch.Size([16, 6]), torch.Size([1, 6]))
    """

    running_mean: Tensor
    running_covariance: Tensor

    def __init__(
        self,
        dim: int,
        *,
        groups: int = 1,
        eps: float = 1e-5,
        method: WhiteningMethod = "zca",
        momentum: float = 0.1,
        shuffle: bool = False,
        irreps: str | None = None,
    ) -> None:
        super().__init__()
        _check_layout(dim, groups, eps, method, irreps)
        check_share(momentum, "momentum", "The usual value is 0.1.")
        self.dim, self.groups, self.eps, self.method = dim, groups, eps, method
        self.momentum, self.shuffle = momentum, shuffle
        size = dim // groups
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_covariance", torch.eye(size).repeat(groups, 1, 1))

    def forward(
        self, z: Float[Tensor, "n d"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Whitened rows.

        Args:
            z: Shape (N, dim).
            generator: Source of the permutation in training, if shuffled.
        """
        if z.shape[1] != self.dim:
            raise ShapeError(
                expected=f"{self.dim} columns",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice="Build the layer with the dimension of the embeddings.",
            )
        if not self.training:
            return self._by_running_moments(z, self.running_mean, self.running_covariance)
        white = whiten(
            z,
            groups=self.groups,
            eps=self.eps,
            method=self.method,
            shuffle=self.shuffle,
            generator=generator,
        )
        self._update(z)
        return white

    @in_full_precision
    def _by_running_moments(self, z: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        centered = z - mean
        return _apply(centered, _root(covariance, self.eps, self.method).to(centered.dtype))

    @torch.no_grad()
    def _update(self, z: Tensor) -> None:
        mean, covariance = _wide_moments(z, self.groups)
        covariance *= len(z) / (len(z) - 1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_covariance.lerp_(covariance.to(self.running_covariance), self.momentum)

    def extra_repr(self) -> str:
        return f"{self.dim}, groups={self.groups}, method={self.method}"


def _root(covariance: Tensor, eps: float, method: WhiteningMethod) -> Tensor:
    size = covariance.shape[-1]
    eye = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    shifted = covariance + eps * eye
    if method == "newton":
        return newton_root(shifted)
    if method == "cholesky":
        factor = torch.linalg.cholesky(shifted)
        inverse: Tensor = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
        return inverse
    return inverse_root(shifted, floor=eps)


def _moments(z: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    mean = z.mean(0)
    grouped = (z - mean).unflatten(1, (groups, -1)).transpose(0, 1)
    return mean, grouped.transpose(-1, -2) @ grouped / len(z)


_wide_moments = in_full_precision(_moments)


def _apply(centered: Tensor, roots: Tensor) -> Tensor:
    grouped = centered.unflatten(1, (len(roots), -1)).transpose(0, 1)
    moved: Tensor = (grouped @ roots.transpose(-1, -2)).transpose(0, 1).flatten(1)
    return moved


def _draw_order(z: Tensor, generator: torch.Generator | None) -> Tensor:
    device = z.device if generator is None else generator.device
    return torch.randperm(z.shape[1], generator=generator, device=device).to(z.device)


def _check_layout(dim: int, groups: int, eps: float, method: str, irreps: str | None) -> None:
    if groups < 1 or dim % groups:
        raise ShapeError(
            expected=f"a divisor of the {dim} channels",
            got=str(groups),
            argument="groups",
            advice="Groups have equal size; groups=D standardizes every channel.",
        )
    check_positive(eps, "eps", "The usual value is 1e-5.")
    if method not in ("zca", "cholesky", "newton"):
        raise ConventionError(
            expected='"zca", "cholesky" or "newton"',
            got=repr(method),
            argument="method",
            advice='"zca" is the symmetric root.',
        )
    if irreps is None:
        return
    layout = IrrepsAction(irreps, SO3()).irreps
    if layout.lmax > 0 or layout.dim != dim:
        raise ConventionError(
            expected=f"{dim} channels of degree 0",
            got=str(layout),
            argument="irreps",
            advice="Centring, whitening or shuffling the components of a vector breaks its "
            "equivariance: whiten the invariant columns alone.",
        )
