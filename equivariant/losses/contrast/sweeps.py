"""Which way of evaluation in blocks suits a form and its pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from equivariant.losses.contrast.class_softmax import ClassSoftmax, fits_classes
from equivariant.losses.contrast.pairs import Entries, Pairs
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Similarity
from equivariant.losses.contrast.sparse_sigmoid import SparseSigmoid, fits_sigmoid
from equivariant.losses.contrast.sparse_softmax import ListedSoftmax, SparseSoftmax, fits
from equivariant.losses.contrast.statistics import Form, PairSigmoid, Values, evaluate
from equivariant.losses.contrast.tiles import AnyForm, tiled

LISTED_PER_ROW = 32
_FEW_PER_ROW = 4


def sweep_of(
    q: Side,
    k: Side,
    pairs: Pairs,
    similarity: Similarity,
    form: Form,
    left: Tensor,
    right: Tensor,
    inverse: Tensor,
    *,
    again: bool,
) -> Values | None:
    """The values by lists or classes of pairs; None where there are none.

    Args:
        q: Anchors.
        k: Candidates.
        pairs: Who attracts and who repels whom.
        similarity: Whose maps are left and right.
        form: Statistics and link.
        left: Feature map of the anchors.
        right: Feature map of the candidates.
        inverse: 1 / τ, one for all, of each anchor (N, 1) or of each candidate (1, M).
        again: Whether derivatives beyond the first are to be had.
    """
    if not similarity.exact:
        return None
    by_anchor = inverse.ndim == 0 or inverse.shape[1] == 1
    left, right = (left * inverse, right) if by_anchor else (left, right * inverse.T)
    rows = len(q) + len(k)
    dense = dense_losses(q, k, pairs, form) if again else None
    if fits(form):
        listed = pairs.entries(q, k, _FEW_PER_ROW * rows)
        classes = None
        if listed is None and fits_classes(form):
            classes = pairs.classes(q, k, _FEW_PER_ROW * rows)
        if classes is not None:
            return tiled(ClassSoftmax(classes, form), dense, left, right)
        listed = pairs.entries(q, k, LISTED_PER_ROW * rows) if listed is None else listed
        if listed is None or trained_weights(form, listed, q, k):
            return None
        return tiled(SparseSoftmax(ListedSoftmax(listed, form)), dense, left, right)
    if not fits_sigmoid(form) or not isinstance(form.link, PairSigmoid):
        return None
    listed = pairs.entries(q, k, LISTED_PER_ROW * rows)
    plain = replace(form, link=PairSigmoid())
    if listed is None or listed.bias is not None or trained_weights(plain, listed, q, k):
        return None
    bias = torch.as_tensor(form.link.bias, dtype=left.dtype, device=left.device)
    return tiled(SparseSigmoid(listed, form), dense, left, right, bias)


def any_form(
    q: Side,
    k: Side,
    pairs: Pairs,
    similarity: Similarity,
    form: Form,
    left: Tensor,
    right: Tensor,
    inverse: Tensor,
    *,
    again: bool,
) -> Values:
    """The values by blocks of the dense algebra; arguments as of :func:`sweep_of`."""

    def dense(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
        s = similarity.finish(u @ v.T)
        return evaluate(s, s * scale, pairs.tile(q, k), form).loss

    blocks = AnyForm(q.detach(), k.detach(), pairs, similarity, form)
    return tiled(blocks, dense if again else None, left, right, inverse)


def dense_losses(q: Side, k: Side, pairs: Pairs, form: Form) -> Callable[..., Tensor]:
    """From feature maps with 1/τ multiplied in, and perhaps a bias, to the losses of anchors."""

    def losses(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
        s = left @ right.T
        own = form if bias is None else replace(form, link=PairSigmoid(bias))
        return evaluate(s, s, pairs.tile(q.detach(), k.detach()), own).loss

    return losses


def trained_weights(form: Form, pairs: Pairs | Entries, q: Side, k: Side) -> bool:
    """Whether gradients flow to the weights of pairs, or to a bias."""
    found = pairs.tile(q[:1], k) if isinstance(pairs, Pairs) else pairs
    weights = (found.log_repulsion, found.attraction, getattr(found, "bias", None))
    all_of_them = (*weights, getattr(form.link, "bias", None))
    return any(isinstance(x, Tensor) and x.requires_grad for x in all_of_them)
