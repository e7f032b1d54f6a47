"""Errors part by part beside the certificate, in one call."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.actions import Piecewise
from equivariant.errors import ShapeError
from equivariant.groups import SE3, Elements
from equivariant.nn import APENClassifier, APENConfig, APENSegmenter, Partition
from equivariant.workflows.measuring.pieces import measure_pieces

CONFIG = APENConfig(cells=6, widths=(8,), sigmas=(0.3,), hidden=8)


def clouds(batch=3, points=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, points, 3, generator=generator, dtype=torch.float64)


PARTS = (torch.arange(24) // 12).expand(3, -1)


class OnePartWrong(torch.nn.Module):
    """Logits that see where the points of part 1 are, and nothing of part 0."""

    def forward(self, x):
        return torch.stack([x[..., 0], -x[..., 0]], -1) * (PARTS[: len(x), :, None] == 1)


def test_each_part_by_itself_against_a_loop():
    x = clouds()
    g = SE3().sample(2 * 4, generator=torch.Generator().manual_seed(1)).unflatten(0, (4, 2))
    elements = torch.stack([torch.block_diag(*pair) for pair in g])
    law = Elements(Piecewise(SE3(), PARTS, count=2).group, elements)
    found = measure_pieces(OnePartWrong(), x, PARTS, law=law, samples=64)
    assert found.certificate is None
    assert found.errors["part 0"].value < 1e-12
    direct = []
    for pair in g:
        moved = x @ pair[1, :3, :3].T + pair[1, :3, 3]
        change = OnePartWrong()(moved).softmax(-1) - OnePartWrong()(x).softmax(-1)
        direct.append(change[:, 12:].square().sum(-1).mean(1).sqrt())
    direct = torch.stack(direct, 1)
    whole, part = found.errors["all"].value, found.errors["part 1"].value
    assert direct.min() <= part <= direct.max()
    assert part == pytest.approx(whole * 2**0.5)  # half of the points
    assert part == pytest.approx(float(direct.mean()), rel=0.2)


def test_known_parts_do_not_change_and_the_certificate_is_shown():
    torch.manual_seed(0)
    model = APENSegmenter(3, CONFIG).double().eval()
    exact = measure_pieces(lambda x: model(x, Partition(PARTS)), clouds(), PARTS, samples=4)
    assert max(e.value for e in exact.errors.values()) < 1e-9
    assert exact.certificate == 1.0
    free = measure_pieces(model, clouds(), PARTS, samples=4)
    assert 1e-6 < free.errors["all"].value <= free.bound
    assert "promised" in str(free)
    assert free.tolerance == 0
    assert "part 1" in str(free)


def test_classifiers_have_one_error():
    torch.manual_seed(0)
    model = APENClassifier(3, CONFIG).double().eval()
    found = measure_pieces(model, clouds(), PARTS, samples=4)
    assert list(found.errors) == ["all"]
    assert found.errors["all"].value <= found.bound


def test_a_part_may_be_missing():
    parts = PARTS.clone()
    parts[0] = 0
    found = measure_pieces(OnePartWrong(), clouds(), parts, samples=4)
    assert found.errors["part 1"].value > 0


def test_refusals():
    with pytest.raises((ShapeError, TypeCheckError)):
        measure_pieces(OnePartWrong(), clouds(), PARTS[:2])
