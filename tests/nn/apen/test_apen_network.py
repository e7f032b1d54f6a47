"""The whole network: exact where its partition is right, whatever the order and the batch."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from equivariant.actions import Piecewise, Trivial
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import E3, O3, SE3
from equivariant.measure import equivariance_error
from equivariant.nn import (
    APENClassifier,
    APENConfig,
    APENEncoder,
    APENSegmenter,
    Partition,
    layer_loss,
)
from equivariant.nn.apen import affected_points

PARTS, EACH = 3, 25
SHAPES = torch.tensor([[1.0, 0.5, 0.2], [0.3, 0.9, 0.6], [0.8, 0.8, 0.1]]).double()


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def config(**settings):
    return APENConfig(
        **{"cells": 9, "widths": (8, 12), "sigmas": (0.4, 1.2), "hidden": 16, **settings}
    )


def segmenter(seed=0, **settings):
    torch.manual_seed(seed)
    return APENSegmenter(PARTS, config(**settings)).double().eval().requires_grad_(False)


def parts_of(scenes):
    return (torch.arange(PARTS * EACH) // EACH).expand(scenes, -1)


def states(scenes, *, seed=0, group=None, box=30.0):
    """Scenes of rigid parts far from one another: the shapes of each scene, at a state."""
    shapes = SHAPES[:, None] * normal(scenes, PARTS, EACH, 3, seed=7)
    shapes = shapes - shapes.mean(2, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    turn = (group or SE3()).sample(scenes * PARTS, generator=generator)[:, :3, :3]
    turn = turn.unflatten(0, (scenes, PARTS))
    place = torch.rand(scenes, PARTS, 3, generator=generator, dtype=torch.float64)
    place[..., 0] = place[..., 0] / 2 + torch.arange(PARTS)  # apart along x
    place[..., 0] = place.gather(1, torch.rand(scenes, PARTS, generator=generator)
                                 .argsort(1)[..., None].expand(-1, -1, 3))[..., 0]  # fmt: skip
    moved = shapes @ turn.mT + box * place.unsqueeze(2)
    return moved.flatten(1, 2), turn.repeat_interleave(EACH, 1), place


@pytest.mark.parametrize("group", [SE3(), E3()])
def test_exact_for_independent_motions_where_the_partition_is_right(group):
    """Nobody tells the network the parts: its own partitions refine them, and nothing changes."""
    model = segmenter(group=group)
    a, turn_a, _ = states(6, seed=0, group=group)
    b, turn_b, _ = states(6, seed=1, group=group)
    before, after = model(a), model(b)
    truth = Partition(parts_of(6))
    for p, q in zip(before.partitions, after.partitions, strict=True):
        assert p.refines(truth)
        assert p == q
    assert before.partition.k < before.partitions[0].k
    torch.testing.assert_close(after.logits, before.logits, atol=1e-9, rtol=0)
    for x, y in zip(before.votes, after.votes, strict=True):
        own = torch.einsum("bnji,bnj->bni", turn_a, x - a)
        again = torch.einsum("bnji,bnj->bni", turn_b, y - b)
        torch.testing.assert_close(again, own, atol=1e-9, rtol=0)


def test_a_partition_across_parts_is_rejected():
    """The same check on a network that merges everything."""
    model = segmenter(sigmas=(0.4, 200.0))
    a, b = states(6, seed=0)[0], states(6, seed=1)[0]
    before, after = model(a), model(b)
    assert not before.partition.refines(Partition(parts_of(6)))
    assert (after.logits - before.logits).abs().max() > 1e-3
    assert affected_points(before.partitions, after.partitions, Partition(parts_of(6))).all()


@pytest.mark.parametrize("group", [SE3(), E3()])
def test_known_parts_by_the_meter(group):
    """One call: any motions of the parts, also through one another."""
    model = segmenter(group=group)
    x, labels = states(1, group=group, box=1.0)[0], parts_of(1)
    known = Partition(labels)
    report = equivariance_error(
        lambda clouds: model(clouds, known), x, act_in=Piecewise(group, labels[0]),
        act_out={"logits": Trivial(PARTS)}, samples=2,
    )  # fmt: skip
    assert report.value("worst") < 1e-9
    assert model(x, known).partition == known
    free = equivariance_error(
        lambda clouds: model(clouds, Partition.single_cell(75, 1)), x,
        act_in=Piecewise(group, labels[0]), act_out={"logits": Trivial(PARTS)}, samples=2,
    )  # fmt: skip
    assert free.value("worst") > 1e-3


@pytest.mark.parametrize("kind", [APENSegmenter, APENClassifier, APENEncoder])
@pytest.mark.parametrize("group", [SE3(), E3()])
def test_modules_declare_how_they_transform(kind, group):
    torch.manual_seed(0)
    made = kind(config(group=group)) if kind is APENEncoder else kind(4, config(group=group))
    x = 0.7 * normal(2, 60, 3)
    report = equivariance_error(made.double().eval(), x, samples=2)
    assert max(report.value("worst", output=output) for output in report.outputs) < 1e-9
    if group == SE3() and kind is not APENEncoder:
        mirrored = equivariance_error(
            made, x, act_in=Piecewise(O3(), torch.zeros(60).long()),
            act_out={"logits": Trivial(4)}, samples=4,
        )  # fmt: skip
        assert mirrored.value("worst") > 1e-4


def test_order_of_points_and_batch_do_not_matter():
    model = segmenter()
    x = torch.cat([states(3)[0], 0.5 * normal(2, 75, 3)])
    found = model(x)
    order = torch.randperm(75, generator=torch.Generator().manual_seed(0))
    shuffled = model(x[:, order])
    torch.testing.assert_close(shuffled.logits, found.logits[:, order], atol=1e-10, rtol=0)
    assert torch.equal(shuffled.partition.labels, found.partition.labels[:, order])
    for k in range(5):
        alone = model(x[k : k + 1])
        torch.testing.assert_close(alone.logits[0], found.logits[k], atol=1e-11, rtol=0)
        assert Partition(alone.partition.labels[0]) == Partition(found.partition.labels[k])


@pytest.mark.parametrize("sigmas", [(0.01, 0.02), (0.4, 1.2), (3.0, 9.0)])
def test_partitions_only_grow_coarser(sigmas):
    found = segmenter(sigmas=sigmas)(normal(4, 60, 3))
    for finer, coarser in itertools.pairwise(found.partitions):
        assert finer.refines(coarser)
        assert coarser.k <= finer.k


@pytest.mark.parametrize("shape", ["point", "pair", "same", "line", "plane", "grid"])
def test_degenerate_clouds(shape):
    line = torch.linspace(-1, 1, 12, dtype=torch.float64)
    flat = torch.tensor([1.0, 1, 0]).double()
    clouds = {
        "point": normal(1, 1, 3),
        "pair": normal(1, 2, 3),
        "same": torch.ones(1, 10, 3).double(),
        "line": line[None, :, None] * torch.tensor([0.2, 0.5, -0.4]).double(),
        "plane": normal(1, 20, 3) * flat,
        "grid": torch.cartesian_prod(line[:3], line[:3], line[:3])[None],
    }
    model = segmenter().requires_grad_(True)
    x = clouds[shape].clone().requires_grad_()
    found = model(x)
    assert found.logits.shape == (1, x.shape[1], PARTS)
    layer_loss(found, torch.zeros(1, x.shape[1]).long(), x.detach()).backward()
    for gradient in [x.grad, *(p.grad for p in model.parameters() if p.grad is not None)]:
        assert torch.isfinite(gradient).all()


def test_the_certificate_comes_from_calibration_and_is_saved():
    model = segmenter()
    a, b, parts = states(40, seed=0)[0], states(40, seed=1)[0], parts_of(40)
    assert model(a[:2]).certificate.tolist() == [1, 1]
    model.calibrate(a, b, parts, level=0.8)
    found = model(a[:2])
    scenes = model.calibration.scenes
    assert int(scenes.sum()) == 27  # a third of the scenes makes the groups
    assert model.calibration.failures.tolist() == [0, 0, 0]
    group = model.calibration.group(-found.encoding.coarsenings[-1].log_certainty)
    expected = 1 / (1 + scenes[group].double())
    torch.testing.assert_close(found.certificate, expected)
    other = APENSegmenter(PARTS, config()).double().eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(a[:2]).certificate, found.certificate)
    # parts that are no parts: every scene fails
    wrong = copy.deepcopy(model)
    wrong.calibrate(a, states(40, seed=1)[0], (torch.arange(75) % 2).expand(40, -1), batch=7)
    assert wrong(a[:2]).certificate.tolist() == [1, 1]
    assert wrong(a[:2]).bound.share.tolist() == [1, 1]


def near(scenes, seed=0):
    """Two parts at every distance, each turned about its own centre: states of the same scenes."""
    shapes = 0.15 * normal(scenes, 2, EACH, 3, seed=3) * SHAPES[:2, None]
    shapes = shapes - shapes.mean(2, keepdim=True)
    gap = torch.rand(scenes, generator=torch.Generator().manual_seed(5)).double() * 1.5
    offset = gap[:, None, None, None] * torch.tensor([0.0, 1]).double()[:, None, None]
    found = []
    for s in (seed, seed + 1):
        turn = SE3().sample(2 * scenes, generator=torch.Generator().manual_seed(s))[:, :3, :3]
        along = torch.tensor([1.0, 0, 0]).double()
        found.append((shapes @ turn.unflatten(0, (scenes, 2)).mT + offset * along).flatten(1, 2))
    return *found, (torch.arange(2 * EACH) // EACH).expand(scenes, -1)


def test_measured_errors_lie_below_what_calibration_promised():
    """Scenes of two parts, near and far: failures, share of points and error on new scenes."""
    model = segmenter(sigmas=(0.1, 0.2), cells=8)
    model.head[-1].weight.mul_(30)  # sharp, so that what changes changes the classes
    a, b, parts = near(300)
    model.calibrate(a[:150], b[:150], parts[:150], level=0.9)
    before, after = model(a[150:]), model(b[150:])
    error = (after.probabilities - before.probabilities).norm(dim=-1).mean(1)
    affected = affected_points(before.partitions, after.partitions, Partition(parts[150:]))
    share = affected.double().mean(1)
    failed = share > 0
    assert 0.1 < failed.double().mean() < 0.9
    assert error[~failed].max() < 1e-9
    assert (error <= before.bound.largest * share + 1e-9).all()  # Corollary 3
    noise = 3 * 0.5 / 150**0.5
    assert failed.double().mean() <= before.certificate.mean() + noise
    assert (share <= before.bound.share).double().mean() >= 0.9 - noise
    assert error.mean() <= before.bound.mean_error.mean()
    assert (error <= before.bound.change).double().mean() >= 0.9 - noise
    assert before.bound.change.mean() <= before.bound.error.mean()
    model.calibrate(a[:150], b[:150], parts[:150], tolerance=0.05)
    allowed = model(a[150:])
    assert (error > 0.05).double().mean() <= allowed.certificate.mean() + noise
    assert allowed.certificate.mean() < before.certificate.mean()
    # per input: where the certificate is low, failures are rarer
    assert before.certificate.std() > 0


def test_training_lowers_errors_of_classes_and_votes():
    torch.manual_seed(0)
    model = APENSegmenter(PARTS, config()).train()
    x, labels = states(8, box=3.0)[0].float(), parts_of(8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(50):
        loss = layer_loss(model(x), labels, x, certainty=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    model.eval()
    found = model(states(8, seed=5, box=3.0)[0].float())
    assert (found.logits.argmax(-1) == labels).float().mean() > 0.6  # a third by chance


@pytest.mark.parametrize("gradient", ["detached", "implicit"])
def test_the_loss_by_hand_and_its_gradient(gradient):
    model = segmenter(gradient=gradient).requires_grad_(True)
    x, labels = states(2, box=3.0)[0], parts_of(2)
    found = model(x)
    classes = -found.logits.log_softmax(-1)[
        torch.arange(2)[:, None], torch.arange(75), labels
    ].mean()
    centers = torch.stack([x[:, labels[0] == p].mean(1) for p in range(PARTS)], 1)
    votes = sum((v - centers[:, labels[0]]).abs().sum(-1).mean() for v in found.votes)
    plain = layer_loss(found, labels, x)
    torch.testing.assert_close(plain, classes + votes)
    torch.testing.assert_close(layer_loss(found, labels, votes=0.0), classes)
    sure = layer_loss(found, labels, x, certainty=1.0) - plain
    expected = sum(-(c.log_certainty / c.finer.counts).mean() for c in found.encoding.coarsenings)
    torch.testing.assert_close(sure, expected)
    sure.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_context_reaches_every_point_and_stays_exact():
    a, b = states(4, seed=0)[0], states(4, seed=1)[0]
    model = segmenter(context=True)
    torch.testing.assert_close(model(b).logits, model(a).logits, atol=1e-9, rtol=0)
    assert not model.local
    assert segmenter().local


def test_float32_on_its_own():
    model = segmenter().float()
    found = model(states(2)[0].float())
    assert found.logits.dtype == found.certificate.dtype == torch.float32


def test_refusals():
    for wrong in ({"widths": (8,)}, {"widths": (), "sigmas": ()}, {"sigmas": (1.0, 0.5)}):
        with pytest.raises(ConventionError, match="sigmas"):
            config(**wrong).build()
    with pytest.raises(ConventionError, match="SE3"):
        config(group=O3()).build()
    with pytest.raises(ConventionError, match="dropout"):
        config(dropout=1.0).build()
    with pytest.raises(ConventionError, match="class"):
        APENSegmenter(0)
    model, x = segmenter(), normal(2, 10, 3)
    with pytest.raises(ShapeError, match="known"):
        model(x, Partition.single_cell(11, 2))
    with pytest.raises(ShapeError, match="three scenes"):
        model.calibrate(x, x, torch.zeros(2, 10).long())
    with pytest.raises(ConventionError, match="tolerance"):
        model.calibrate(*[normal(3, 10, 3)] * 2, torch.zeros(3, 10).long(), tolerance=-1.0)
    found = model(x)
    with pytest.raises(ShapeError, match="labels"):
        layer_loss(found, torch.zeros(2).long(), x)
    with pytest.raises(ShapeError, match="parts"):
        layer_loss(found, torch.zeros(2, 10).long())
    with pytest.raises(ConventionError, match="negative"):
        layer_loss(found, torch.zeros(2, 10).long(), x, votes=-1.0)
    assert found.keys() == ("logits",)
    with pytest.raises(KeyError):
        found["votes"]
