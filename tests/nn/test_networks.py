"""The encoder's shape and published weights, the split, the learned action."""

import json
import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, DataFormatError, ShapeError
from equivariant.groups import SO2, SO3, Product, Spin3, Translation
from equivariant.nn import (
    Hypernetwork,
    ImageEncoder,
    ImageEncoderConfig,
    Projector,
    SplitModel,
    SplitProjector,
    element_features,
    load_sie_encoder,
)
from equivariant.nn.images.encoder import Convolution


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_encoder_has_the_published_shape():
    encoder = ImageEncoderConfig(topology="sie").build().eval()
    assert count(encoder) == 11_180_736
    maps = []
    encoder.layer4.register_forward_hook(lambda module, args, output: maps.append(output.shape))
    with torch.no_grad():
        y = encoder(torch.rand(1, 3, 256, 256))
    assert y.shape == (1, 512)
    assert (y >= 0).all()
    assert maps == [(1, 512, 8, 8)]
    # The usual network has no projected shortcut in its first stage: 64 * 64 + 2 * 64 fewer.
    assert count(ImageEncoderConfig().build()) == 11_180_736 - 4_224


@pytest.mark.parametrize(
    ("topology", "size"),
    [("standard", 1), ("standard", 17), ("standard", 32), ("sie", 32), ("sie", 64)],
)
def test_encoder_takes_any_size_and_a_batch_of_one(topology, size):
    encoder = ImageEncoderConfig(width=4, topology=topology).build().eval()
    assert encoder(torch.rand(1, 3, size, size)).shape == (1, 32)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 1), (1, 4), (2, 2)])
def test_strides_over_single_pixels_have_gradients_in_bfloat16(height, width):
    torch.manual_seed(0)
    layer = Convolution(16, 32, 3, 2, padding=1, bias=False)
    x = torch.randn(4, 16, height, width)
    exact = x.double(), layer.weight.detach().double().requires_grad_()
    y = torch.nn.functional.conv2d(*exact, stride=2, padding=1)
    torch.testing.assert_close(layer(x), y.float())
    (wanted,) = torch.autograd.grad(y.square().sum(), exact[1])
    for _ in range(5):
        freed = [torch.full_like(layer.weight, math.nan) for _ in range(20)]
        del freed  # what a kernel forgets to write would be NaN
        with torch.autocast("cpu", torch.bfloat16):
            (found,) = torch.autograd.grad(layer(x).float().square().sum(), layer.weight)
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=0.05 * wanted.abs().max())


def test_sizes_that_do_not_fit_the_published_topology():
    with pytest.raises(ShapeError, match="multiples of 32"):
        ImageEncoderConfig(width=4, topology="sie").build()(torch.rand(2, 3, 45, 45))


def test_blocks_start_as_their_shortcut():
    encoder = ImageEncoderConfig(width=4).build().eval()
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(encoder.layer1(x), x)


def test_encoder_refusals():
    with pytest.raises(ConventionError, match="at least 1"):
        ImageEncoder(ImageEncoderConfig(width=0))
    with pytest.raises((ConventionError, TypeCheckError), match="sie"):
        ImageEncoder(ImageEncoderConfig(topology="dense"))
    with pytest.raises(ShapeError, match="batch, 3"):
        ImageEncoderConfig(width=4).build()(torch.rand(2, 1, 8, 8))


def published_files(tmp_path, encoder):
    bare = tmp_path / "final_weights.pth"
    torch.save(encoder.state_dict(), bare)
    whole = tmp_path / "model.pth"
    state = {f"module.backbone.{k}": v for k, v in encoder.state_dict().items()}
    state["module.projector.0.weight"] = torch.zeros(2, 2)
    torch.save({"epoch": 3, "model": state, "optimizer": {"lr": 0.1}}, whole)
    (tmp_path / "params.json").write_text('{"arch": "resnet18", "equi": 256}')
    return bare, whole


def test_published_checkpoints_load(tmp_path):
    encoder = ImageEncoderConfig(width=8, topology="sie").build().eval()
    x = torch.rand(2, 3, 32, 32)
    for path in published_files(tmp_path, encoder):
        loaded = load_sie_encoder(path)
        assert loaded.config == encoder.config
        torch.testing.assert_close(loaded(x), encoder(x))


def test_other_checkpoints_are_refused_by_name(tmp_path):
    other = ImageEncoderConfig(width=8, topology="standard").build()
    path, _ = published_files(tmp_path, other)
    with pytest.raises(DataFormatError, match=r"final_weights\.pth.*layer1\.0\.downsample"):
        load_sie_encoder(path)
    (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:1000])
    (tmp_path / "text.pth").write_text("not weights")
    torch.save(SO3(), tmp_path / "code.pth")
    for name in ("cut.pth", "text.pth", "code.pth", "absent.pth"):
        with pytest.raises(DataFormatError, match=name):
            load_sie_encoder(tmp_path / name)


@pytest.mark.parametrize(
    "arch", ["resnet18_no_relu", "resnet34_no_relu", "resnet34", "resnet50", "another"]
)
def test_published_networks_that_compute_something_else_are_refused(tmp_path, arch):
    encoder = ImageEncoderConfig(width=2, topology="sie").build()
    for path in published_files(tmp_path, encoder):
        (tmp_path / "params.json").write_text(json.dumps({"arch": arch}))
        with pytest.raises(DataFormatError, match=arch):
            load_sie_encoder(path)
        with pytest.raises(DataFormatError, match=arch):
            load_sie_encoder(path, arch=arch)


def test_published_weights_without_a_word_on_their_architecture_are_refused(tmp_path):
    encoder = ImageEncoderConfig(width=2, topology="sie").build()
    path, _ = published_files(tmp_path, encoder)
    for text in ('{"equi": 256}', '{"arch": 18}', "[]", "no json"):
        (tmp_path / "params.json").write_text(text)
        with pytest.raises(DataFormatError, match=r"params\.json"):
            load_sie_encoder(path)
    (tmp_path / "params.json").unlink()
    with pytest.raises(DataFormatError, match=r"params\.json beside.*arch='resnet18'"):
        load_sie_encoder(path)
    assert load_sie_encoder(path, arch="resnet18").config == encoder.config


def test_projector_layers():
    layers = [type(layer).__name__ for layer in Projector(8, (16, 16, 4))]
    assert layers == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    projector = Projector(8, (16, 4))
    assert projector[0].bias is not None
    assert projector[-1].bias is None
    assert len(Projector(8, (4,))) == 1
    with pytest.raises(ConventionError, match="at least one width"):
        Projector(8, ())


def test_each_half_sees_only_its_half():
    projector = SplitProjector((4, 4), [(8, 6), (8, 6)]).eval()
    y = torch.randn(3, 8)
    changed = y.clone()
    changed[:, :4] += 1
    before, after = projector(y), projector(changed)
    assert (before[:, :6] != after[:, :6]).any()
    assert torch.equal(before[:, 6:], after[:, 6:])
    kept = SplitProjector((4, 4), [(8, 6), ()]).eval()
    assert kept.dim == 10 and torch.equal(kept(y)[:, 6:], y[:, 4:])
    with pytest.raises(ConventionError, match="one per part"):
        SplitProjector((4, 4), [(8, 6)])
    with pytest.raises(ConventionError, match="add up"):
        SplitModel(ImageEncoderConfig(width=4).build(), projector, names=("a", "b"))


def test_hypernetwork_is_the_published_one():
    """Against H g reshaped row by row, materialized."""
    action = Hypernetwork(Spin3(), 5).double()
    flat = action.weight.permute(1, 2, 0).reshape(25, 4)
    g = Spin3().sample(6, generator=torch.Generator().manual_seed(0))
    z = torch.randn(6, 5, dtype=torch.float64)
    q = Spin3.quaternion_xyzw(g)
    matrices = (q @ flat.T).reshape(6, 5, 5)
    torch.testing.assert_close(action(g, z), torch.einsum("bij,bj->bi", matrices, z))
    torch.testing.assert_close(action.matrix(g), matrices)
    torch.testing.assert_close(action.matrix(-g), -matrices)
    assert count(action) == 4 * 5 * 5


def test_hypernetwork_on_rotations_and_colors():
    group = Product(SO3(), Translation(1), Translation(1))
    g = group.sample(3, generator=torch.Generator().manual_seed(0))
    rotation, floor, spot = group.split(g)
    features = element_features(group, g, "matrix")
    expected = [rotation.flatten(1), floor[:, :1, 1], spot[:, :1, 1]]
    torch.testing.assert_close(features, torch.cat(expected, 1))
    assert Hypernetwork(group, 4, "quaternion").weight.shape == (6, 4, 4)
    on_so3 = element_features(SO3(), rotation, "quaternion")
    assert (on_so3[:, 3] >= 0).all()


@pytest.mark.parametrize("dim", [32, 512])
def test_gain_of_the_start(dim):
    torch.manual_seed(0)
    g = Spin3().sample(64, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    z = torch.randn(64, dim)

    def gain(action):
        return float((action(g, z).norm(dim=1) / z.norm(dim=1)).mean().detach())

    assert gain(Hypernetwork(Spin3(), dim)) == pytest.approx(math.sqrt(dim / 12), rel=0.1)
    assert gain(Hypernetwork(Spin3(), dim, gain=1.0)) == pytest.approx(1.0, rel=0.1)


def test_hypernetwork_refusals():
    with pytest.raises(ConventionError, match="gain"):
        Hypernetwork(SO3(), 4, gain=0.0)
    with pytest.raises((ConventionError, TypeCheckError), match="matrix"):
        Hypernetwork(SO3(), 4, "euler")
    with pytest.raises(ConventionError, match="product of them"):
        Hypernetwork(SO2(), 4)
