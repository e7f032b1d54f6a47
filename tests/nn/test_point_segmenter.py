"""Segmentation heads: every encoder under one head, invariant where the encoder is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equivariant.actions import Points, Trivial
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO3
from equivariant.measure import equivariance_error
from equivariant.nn import (
    FrameAverage,
    PointEncoderConfig,
    PointSegmenter,
    VectorNeuronEncoderConfig,
)

ENCODERS = {
    "pointnet": PointEncoderConfig("pointnet", width=4, dim=8),
    "dgcnn": PointEncoderConfig("dgcnn", width=4, dim=8, neighbors=5),
    "vectors": VectorNeuronEncoderConfig(width=4, channels=6, neighbors=5, invariant=True, dim=8),
}


def clouds(batch=2, points=30):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, points, 3, generator=generator, dtype=torch.float64)


def made(name):
    torch.manual_seed(0)
    return PointSegmenter(ENCODERS[name].build(), 3, hidden=8).double().eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_encoder_is_the_maximum_of_its_points(name):
    model, x = made(name), clouds()
    features = model.encoder.point_features(x)
    assert features.shape == (2, 30, model.encoder.point_dim)
    strongest = features.amax(1)
    torch.testing.assert_close(strongest[:, -model.encoder.dim :], model.encoder(x))
    both = torch.cat([features, strongest[:, None].expand_as(features)], -1)
    torch.testing.assert_close(model(x), model.head(both))


@pytest.mark.parametrize("name", ENCODERS)
def test_points_are_labelled_whatever_their_order(name):
    model, x = made(name), clouds()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[:, order]), model(x)[:, order], atol=1e-10, rtol=0)


def test_invariant_with_vectors_or_frames_and_not_without():
    def error(model):
        return equivariance_error(
            model, clouds(), act_in=Points(SE3()), act_out=Trivial(3), samples=4
        ).value("worst")

    assert error(made("vectors")) < 1e-9
    assert error(FrameAverage(made("pointnet"), SO3())) < 1e-9
    assert error(made("pointnet")) > 1e-3


def test_refusals():
    with pytest.raises(ConventionError, match="point_features"):
        PointSegmenter(nn.Linear(3, 3), 2)
    with pytest.raises(ConventionError, match="sizes"):
        PointSegmenter(ENCODERS["pointnet"].build(), 0)
    turning = VectorNeuronEncoderConfig(width=4, channels=6, neighbors=5).build()
    with pytest.raises(ConventionError, match="invariant"):
        PointSegmenter(turning, 2)(clouds().float())
