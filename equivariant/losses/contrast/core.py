"""The core: every contrastive objective is a pull, a push, and a link between them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.anchor_candidates import Own, with_own
from equivariant.losses.contrast.pairs import Pairs
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Cosine, Similarity
from equivariant.losses.contrast.sparse_softmax import ListedSoftmax, SweepBothWays, fits
from equivariant.losses.contrast.statistics import Form, Hardest, Link, Pull, Push, Values, evaluate
from equivariant.losses.contrast.sweeps import (
    LISTED_PER_ROW,
    any_form,
    dense_losses,
    sweep_of,
    trained_weights,
)
from equivariant.losses.contrast.tiles import tiled
from equivariant.losses.temperatures.temperature import Fixed, Temperature, temperature_of
from equivariant.losses.transforms import transformed
from equivariant.processes import across_processes, total
from equivariant.shapes import Bool, Float

Evaluation = Literal["auto", "dense", "tiled"]

_DENSE_BELOW = 1 << 14
_DENSE_UNLISTED = 1 << 22
_SHARED = 1 << 22


@dataclass(frozen=True)
class Contrast:
    """Values of a contrast, one per anchor, before any reduction.

    Args:
        per_anchor: c_i L_i, shape (N,), float32 or float64; 0 with zero gradient where not
            valid. c_i is the anchor's weight, 1 where its side has none.
        valid: Anchors that have a positive and (for a gap) something to push, shape (N,), bool.
        gap: R_i - A_i, detached, shape (N,); 0 where not valid.
        push_mass: Softmax mass on candidates that are not positives, detached, shape (N,).
        entropy: Entropy in nats of the softmax over the push set, detached, shape (N,).
        gathered: Whether the candidates are those of all processes.
    """

    per_anchor: Float[Tensor, n]
    valid: Bool[Tensor, n]
    gap: Float[Tensor, n]
    push_mass: Float[Tensor, n]
    entropy: Float[Tensor, n]
    gathered: bool = False

    def mean(self) -> Float[Tensor, ""]:
        """Mean over valid anchors; 0, still connected to the graph, where there is none.

        Gathered, it is the mean over the valid anchors of all processes, the same number on
        each, and averaging parameter gradients over processes gives one process's gradient.
        """
        count = self.valid.sum()
        if not self.gathered:
            return self.per_anchor.sum() / count.clamp(min=1)
        return total(self.per_anchor.sum()) / total(count).clamp(min=1)


def contrast(
    q: Side,
    k: Side,
    pairs: Pairs,
    *,
    tau: float | Temperature = 0.1,
    similarity: Similarity | None = None,
    keep: float = 1.0,
    pull: Pull = "mean",
    push: Push = "lse",
    link: Link = "gap",
    hardest: Hardest | None = None,
    method: Evaluation = "auto",
    gather: bool = False,
    own: Own | None = None,
) -> Contrast:
    """Attract positives, repel candidates.

    With logits ℓ_ij = s(q_i, k_j) / τ_ij, attraction weights P and repulsion weights W, where W
    of a positive is multiplied by ``keep``:

        L_i = link(R_i - A_i),   A_i = pull_j(ℓ_ij; P_ij),   R_i = push_j(ℓ_ij; W_ij)

        mean        Σ w ℓ / Σ w            max, min    greatest, least logit (min: pull only)
        sum         Σ w ℓ                  Boltzmann   Σ softmax(log w + t ℓ) ℓ
        lse         log Σ w exp ℓ          each        pull only: Σ_p P_p link(R - ℓ_p) / Σ P
        lme         log Σ w exp ℓ / Σ w    none        that side is left out

        gap         R - A                  Hinge       relu(margin + R - A)
        softplus    log(1 + exp(R - A))    PairHinge   push_j relu(margin + ℓ_ij - A_i)
        PairSigmoid pull_j softplus(-ℓ_ij - b) + push_j softplus(ℓ_ij + b)

    keep = 1 is InfoNCE, 0 is the decoupled loss, and softplus of the decoupled gap is InfoNCE
    again.

    Similarities and sums are computed in float32 or wider, outside autocast. Logits are scaled
    first and masked after, so a learned temperature has a finite gradient beside masked pairs.
    A product of CUDA matrices in TF32, if you have switched that on, costs three digits: leave
    ``torch.backends.cuda.matmul.allow_tf32`` off.

    Args:
        q: Anchors, N rows.
        k: Candidates, M rows of the same width.
        pairs: Who attracts and who repels whom.
        tau: Temperature, > 0.
        similarity: Cosine by default.
        keep: Share of an anchor's positives in its push set, in [0, 1].
        pull: Statistic of the positives.
        push: Statistic of the push set.
        link: From the gap to the loss.
        hardest: Which of the negatives stay in the push set; all by default.
        method: ``dense`` holds all N x M pairs; ``tiled`` needs memory O((N + M) D) and can be
            differentiated once. ``auto`` chooses: dense below 2¹⁴ pairs, and up to 2²² where the
            pairs are not few and listed, or classes; tiled beyond, except for temperatures of each
            pair and for weights that are trained. It is differentiated any number of times: for
            derivatives beyond the first, in ``torch.func``, in forward mode and under
            ``torch.compile`` all pairs are held.
        gather: Whether candidates are those of all processes.
        own: Further candidates of each anchor alone, beside the shared ones; evaluated densely.

    Returns:
        Per-anchor values; see :class:`Contrast`.

    Raises:
        ShapeError: The widths of q and k differ.
        UserWarning: Embeddings are bfloat16 and the fixed temperature is below 0.03: rounding
            alone then moves logits by 0.1 and more.
        ConventionError: ``keep`` is outside [0, 1]; a name is unknown; ``tiled`` is asked for
            with temperatures of each pair, trained weights or own candidates; own candidates
            have temperatures that differ among candidates, or ``hardest``.

    Example:
        >>> z = Side.views(torch.eye(4), torch.eye(4))
        >>> loss = contrast(z, z, Pairs.same("id").not_self(), tau=0.5).mean()
        >>> round(float(loss), 4)  # -2 + log(e² + 6)
        0.5944

    Source: the common form of van den Oord et al. 2018 (eq. 4), Chen et al. 2020 (eq. 1),
    Khosla et al. 2020 (eq. 2), Yeh et al. 2022 (DCL), Zheng et al. 2023 (CACR).
    """
    form = Form(keep, pull, push, link, hardest)
    if q.z.shape[1] != k.z.shape[1]:
        raise ShapeError(
            expected=f"candidates of width {q.z.shape[1]}, as the anchors",
            got=f"width {k.z.shape[1]}",
            argument="k",
            advice="Project both sides to one space.",
        )
    if method not in ("auto", "dense", "tiled"):
        raise ConventionError(
            expected="auto, dense or tiled", got=repr(method), argument="method",
            advice="'auto' chooses by size.",
        )  # fmt: skip
    gathered = gather and across_processes()
    if gathered:
        k = k.collect()
    temperature = temperature_of(tau)
    _warn_of_rounding(q.z.dtype, temperature)
    with torch.autocast(q.z.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(q.z.dtype, k.z.dtype), torch.float32)
        q, k = q.replace(q.z.to(wide)), k.replace(k.z.to(wide))
        inverse = 1.0 / temperature(q, k).to(dtype=wide, device=q.z.device)
        values = _evaluate(q, k, pairs, similarity or Cosine(), inverse, form, method, own)
        loss = values.loss if q.weight is None else values.loss * q.weight.to(wide)
    return Contrast(loss, values.valid, values.gap, values.push_mass, values.entropy, gathered)


def contrast_both(
    q: Side,
    k: Side,
    pairs: Pairs,
    *,
    tau: float | Temperature = 0.1,
    similarity: Similarity | None = None,
    keep: float = 1.0,
    pull: Pull = "mean",
    link: Link = "gap",
    method: Evaluation = "auto",
    gather: bool = False,
) -> tuple[Contrast, Contrast]:
    """Anchors against candidates, and candidates against anchors, with a log-sum-exp push.

    The same two results as ``contrast(q, k, ...)`` and ``contrast(k, q, ...)``. Sides of middle
    size share one matrix of logits, which halves the work; beyond, each direction is evaluated
    in blocks.

    Args:
        q: One side, N rows.
        k: The other, M rows of the same width.
        pairs: Who attracts and who repels whom; asked in both directions.
        tau: Temperature, > 0.
        similarity: Cosine by default.
        keep: Share of the positives in the push set, in [0, 1].
        pull: Statistic of the positives.
        link: From the gap to the loss.
        method: As for :func:`contrast`.
        gather: Whether candidates are those of all processes.

    Returns:
        Values of the anchors q, and of the anchors k.

    Raises:
        ShapeError: The widths differ.
        ConventionError: As for :func:`contrast`.

    Example:
        >>> a, b = Side.of(torch.eye(4)), Side.of(torch.eye(4).roll(1, 0))
        >>> there, back = contrast_both(a, b, Pairs.same("index"), tau=0.5)
        >>> round(float(there.mean()), 4), round(float(back.mean()), 4)
        (2.3408, 2.3408)
    """
    settings: dict[str, Any] = {
        "similarity": similarity, "keep": keep, "pull": pull, "link": link, "gather": gather,
        "method": method,
    }  # fmt: skip
    temperature = temperature_of(tau)
    form = Form(keep, pull, "lse", link)
    shared = None
    if (
        method == "auto"
        and fits(form)
        and not (gather and across_processes())
        and q.z.shape[1] == k.z.shape[1]
    ):
        shared = _share_logits(q, k, pairs, similarity or Cosine(), temperature, form)
    if shared is not None:
        return shared
    there = contrast(q, k, pairs, tau=temperature, **settings)
    return there, contrast(k, q, pairs, tau=temperature, **settings)


def _share_logits(
    q: Side, k: Side, pairs: Pairs, similarity: Similarity, temperature: Temperature, form: Form
) -> tuple[Contrast, Contrast] | None:
    """Both directions from one matrix of logits; None where that is not the way to go."""
    n, size, most = len(q), len(q) * len(k), LISTED_PER_ROW * (len(q) + len(k))
    if not _DENSE_BELOW <= size <= _SHARED or not similarity.exact or transformed(q.z, k.z):
        return None
    there, back = pairs.entries(q, k, most), pairs.entries(k, q, most)
    if there is None or back is None:
        return None
    if trained_weights(form, there, q, k) or trained_weights(form, back, k, q):
        return None
    with torch.autocast(q.z.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(q.z.dtype, k.z.dtype), torch.float32)
        q, k = q.replace(q.z.to(wide)), k.replace(k.z.to(wide))
        inverse = 1.0 / temperature(q, k).to(dtype=wide, device=q.z.device)
        if inverse.ndim:
            return None
        left, right = similarity.maps(q, k)
        both = SweepBothWays(ListedSoftmax(there, form), ListedSoftmax(back, form))
        first, second = dense_losses(q, k, pairs, form), dense_losses(k, q, pairs, form)

        def dense(u: Tensor, v: Tensor) -> Tensor:
            return torch.cat([first(u, v), second(v, u)])

        values = tiled(both, dense, left * inverse, right)
    return _weighed(values, slice(0, n), q), _weighed(values, slice(n, None), k)


def _weighed(values: Values, rows: slice, side: Side) -> Contrast:
    loss = values.loss[rows]
    loss = loss if side.weight is None else loss * side.weight.to(loss)
    gap, mass, entropy = values.gap[rows], values.push_mass[rows], values.entropy[rows]
    return Contrast(loss, values.valid[rows], gap, mass, entropy)


def _evaluate(
    q: Side,
    k: Side,
    pairs: Pairs,
    similarity: Similarity,
    inverse: Tensor,
    form: Form,
    method: Evaluation,
    own: Own | None,
) -> Values:
    left, right = similarity.maps(q, k)
    size = len(q) * len(k)
    if transformed(left, right, inverse):
        _refuse_transforms(method)
        method = "dense"
    elif method == "auto" and size < _DENSE_BELOW:
        method = "dense"
    if method != "dense":
        of_pairs = inverse.ndim == 2 and min(inverse.shape) > 1
        if own is not None or of_pairs:
            _refuse_tiles(method)
        else:
            again = method == "auto"
            swept = sweep_of(q, k, pairs, similarity, form, left, right, inverse, again=again)
            if swept is not None:
                return swept
            if trained_weights(form, pairs, q, k):
                _refuse_tiles(method)
            elif method == "tiled" or size > _DENSE_UNLISTED:
                return any_form(q, k, pairs, similarity, form, left, right, inverse, again=again)
    s, tile = similarity.finish(left @ right.T), pairs.tile(q, k)
    if own is not None:
        s, tile = with_own(s, tile, own, inverse, form)
    return evaluate(s, s * inverse, tile, form)


def _warn_of_rounding(dtype: torch.dtype, temperature: Temperature) -> None:
    if dtype == torch.bfloat16 and isinstance(temperature, Fixed) and temperature.tau < 0.03:
        warnings.warn(
            f"bfloat16 embeddings at temperature {temperature.tau:g}: their rounding alone moves "
            "logits by 0.1 and more; leave autocast before the last projection",
            stacklevel=3,
        )


def _refuse_tiles(method: Evaluation) -> None:
    if method == "tiled":
        raise ConventionError(
            expected="one temperature for all, per anchor or per candidate, and fixed weights",
            got="temperatures of each pair, trained weights or bias, or own candidates",
            argument="method",
            advice="Pass method='dense' or 'auto'.",
        )


def _refuse_transforms(method: Evaluation) -> None:
    if method == "tiled" and not torch.compiler.is_compiling():
        raise ConventionError(
            expected="plain tensors",
            got="tensors inside torch.func or forward-mode differentiation",
            argument="method",
            advice="Pass method='dense' or 'auto', which holds all pairs there.",
        )
