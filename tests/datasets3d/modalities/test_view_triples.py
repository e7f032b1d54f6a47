"""Triples show one object in one pose; losses of two and three modalities learn from them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import own_projection as own
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn
from torch.utils.data import DataLoader

from datasets3d import ThreeDIEBench, ViewClouds, ViewTriples, read_pass
from datasets3d.modalities.parameters import ParameterCode, decoded_rotation
from equivariant.errors import ConventionError, DataFormatError, ShapeError
from equivariant.losses import preset
from equivariant.training import EmbeddingNoise, NoisyHeadLearner

SIZE = 64


@pytest.fixture(scope="module")
def small(moved):
    return ViewClouds(ThreeDIEBench(moved, cache=False), points=400)


def on_masks(root, data, batch, points):
    """Share of points that lie on the object in the pictures of the batch."""
    K, W, _ = own.camera(SIZE)
    shares = []
    for k, (o, v) in enumerate(zip(batch.objects.tolist(), batch.views.tolist(), strict=True)):
        seen = (points[k].double().numpy() @ W[:, :3].T + W[:, 3]) @ K.T
        column, row = np.rint(seen[:, :2] / seen[:, 2:]).astype(int).clip(0, SIZE - 1).T
        shares.append(read_pass(root, data.object_ids[o], v, "mask")[row, column].mean())
    return np.array(shares)


@pytest.mark.parametrize("of", ["whole", "partial"])
def test_picture_cloud_and_parameters_are_of_one_pose(moved, small, of):
    batch = next(iter(ViewTriples(small, 6, of=of)))
    assert len({*zip(batch.objects.tolist(), batch.views.tolist(), strict=True)}) == 6
    assert (on_masks(moved, small.dataset, batch, batch.points) > 0.8).all()
    assert on_masks(moved, small.dataset, batch, batch.points.roll(1, 0)).mean() < 0.75, "the twin"
    for k, (o, v) in enumerate(zip(batch.objects.tolist(), batch.views.tolist(), strict=True)):
        np.testing.assert_array_equal(batch.images[k].permute(1, 2, 0), small.dataset.image(o, v))
        np.testing.assert_array_equal(batch.latents[k], small.dataset.all_latents[o, v])
        R = Rotation.from_euler("xyz", batch.latents[k, :3]).as_matrix()
        np.testing.assert_allclose(decoded_rotation(batch.parameters.numpy())[k], R, atol=1e-6)
        assert int(batch.labels[k]) == small.dataset.labels[o]


def test_parameters_are_bounded_named_and_tell_latents(small):
    code = ParameterCode.of(small.law)
    latents = small.dataset.all_latents.reshape(-1, 11)
    found = dict(zip(code.names, code.encode(latents).T, strict=True))
    assert np.abs(np.stack(list(found.values()))).max() <= 1.0 + 1e-6
    phi = np.arctan2(found["sin spot_phi_rad"], found["cos spot_phi_rad"]) % (2 * np.pi)
    np.testing.assert_allclose(phi, latents[:, 5], atol=1e-5)
    np.testing.assert_allclose(0.25 * (found["scale"] + 1) + 0.7, latents[:, 10], atol=1e-6)
    np.testing.assert_allclose(0.2 * found["translation_y"], latents[:, 8], atol=1e-6)
    with pytest.raises(ShapeError, match="11"):
        code.encode(latents[:, :7])


def test_the_stream_resumes_and_does_not_depend_on_workers(small):
    settings = {"points": 30, "of": "partial", "epochs": 2}
    whole = list(ViewTriples(small, 4, **settings))
    assert [len(b) for b in whole] == [4, 2, 4, 2]
    rest = list(ViewTriples(small, 4, state=whole[0].state, **settings))
    loaded = list(DataLoader(ViewTriples(small, 4, **settings), batch_size=None, num_workers=2))
    for a, b in zip(whole[1:], rest, strict=True):
        assert torch.equal(a.points, b.points) and torch.equal(a.images, b.images)
    for a, b in zip(whole, loaded, strict=True):
        assert torch.equal(a.points, b.points) and torch.equal(a.parameters, b.parameters)
    first = {(o, v): p for b in whole[:2] for o, v, p in zip(b.objects.tolist(), b.views.tolist(),
                                                            b.points, strict=True)}  # fmt: skip
    again = {(o, v): p for b in whole[2:] for o, v, p in zip(b.objects.tolist(), b.views.tolist(),
                                                            b.points, strict=True)}  # fmt: skip
    assert first.keys() == again.keys()
    assert any(not torch.equal(first[key], again[key]) for key in first), "other points each epoch"


class Encoders(nn.Module):
    """The smallest encoders of three modalities."""

    def __init__(self, numbers, width=16):
        super().__init__()
        self.image = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 64, width))
        self.cloud = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, width))
        self.numbers = nn.Linear(numbers, width)

    def forward(self, batch):
        features = torch.cat([batch.points, batch.colors], 2)
        return {
            "a": self.image(batch.images.float() / 255.0 - 0.5),
            "b": self.cloud(features).mean(1),
            "c": self.numbers(batch.parameters),
        }


@pytest.mark.parametrize(("name", "sides"), [("symile", "abc"), ("clip", "ab"), ("clip", "ac")])
def test_a_few_steps_of_losses_of_modalities(small, name, sides):
    torch.manual_seed(0)
    triples = ViewTriples(small, 6, points=64)
    model, loss = Encoders(len(triples.code.names)), preset(name).build()
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.02)
    draws, values = torch.Generator().manual_seed(0), []
    for batch in islice(triples, 40):
        z = model(batch)
        given = {side: z[own] for side, own in zip("abc", sides, strict=False)}
        total = loss(**given, generator=draws).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert np.mean(values[-5:]) < 0.7 * np.mean(values[:5])


def test_a_head_learned_from_clouds_alone_is_given_pictures(small):
    """CLOSE: the embeddings of one modality with noise, then those of the other."""
    torch.manual_seed(0)
    batch = next(iter(ViewTriples(small, 6, points=64)))
    model = Encoders(batch.parameters.shape[1])
    head = nn.Linear(16, batch.parameters.shape[1])
    learner = NoisyHeadLearner(head, EmbeddingNoise(0.08))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    with torch.no_grad():
        z = model(batch)
    values = []
    for _ in range(30):
        value, _ = learner(z["b"], batch.parameters)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.8 * values[0]
    assert head(nn.functional.normalize(z["a"], dim=1)).shape == batch.parameters.shape


def test_doors(moved, small):
    with pytest.raises(ConventionError, match="points"):
        ViewTriples(small, 4, points=401)
    with pytest.raises(ConventionError, match="batch_size"):
        ViewTriples(small, 7)
    with pytest.raises(DataFormatError, match="sees"):
        ViewTriples(ViewClouds(ThreeDIEBench(moved, cache=False), points=1), 4, of="partial")
