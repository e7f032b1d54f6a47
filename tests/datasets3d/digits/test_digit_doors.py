"""What sets, laws and pairs of digits refuse."""

import jaxtyping
import numpy as np
import pytest
import torch
from scipy.io import savemat

from datasets3d.digits import (
    AffNistLaw,
    DigitPairs,
    Digits,
    RotationLaw,
    WideAffineLaw,
    move_pictures,
    read_affnist,
)
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import SL, TruncatedHaarSampler


@pytest.fixture(autouse=True)
def unchecked():
    """No type checks: what users without the import hook see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def bars():
    images = np.zeros((6, 28, 28), np.uint8)
    images[:, 6:22, 12:15] = 255
    return images


@pytest.mark.parametrize(
    ("images", "labels", "argument"),
    [
        (bars() / 255, np.arange(6), "images"),  # would be taken for almost black bytes
        (bars().astype(np.int64), np.arange(6), "images"),
        (torch.from_numpy(bars()), np.arange(6), "images"),
        (bars(), np.arange(6) / 2, "labels"),  # would be cut to whole numbers
        (bars(), list(range(6)), "labels"),
    ],
    ids=["fractions", "wide", "tensor", "halves", "list"],
)
def test_arrays_of_other_kinds(images, labels, argument):
    with pytest.raises(ConventionError, match=argument):
        Digits.of(images, labels)
    assert len(Digits.of(bars(), np.arange(6, dtype=np.uint8))) == 6


def test_sizes_that_are_no_whole_numbers():
    with pytest.raises(ConventionError, match="size_px"):
        Digits.of(bars(), np.arange(6), size_px=40.0)
    assert Digits.of(bars(), np.arange(6), size_px=np.int64(40)).size_px == 40


@pytest.mark.parametrize("law", ["affnist", AffNistLaw, TruncatedHaarSampler(SL(2), 0.3)])
def test_pairs_take_laws_of_the_plane(law):
    with pytest.raises(ConventionError, match="law: expected PlaneLaw"):
        DigitPairs(Digits.of(bars(), np.arange(6)), law=law)


def test_pairs_take_digits():
    with pytest.raises(ConventionError, match="dataset: expected Digits"):
        DigitPairs("mnist")


@pytest.mark.parametrize("limits", [0.3, (0.1,), (0.1, 0.2, 0.3), None])
def test_ranges_have_two_ends(limits):
    for make in (
        lambda: AffNistLaw(rotation_rad=limits),
        lambda: WideAffineLaw(scale=limits),
        lambda: RotationLaw(limits),
    ):
        with pytest.raises(ConventionError, match="low, high"):
            make()


def test_pictures_move_by_invertible_matrices():
    pictures, eye = torch.rand(2, 1, 8, 8), torch.eye(3).expand(2, 3, 3)
    with pytest.raises(ConventionError, match="uint8"):
        move_pictures((255 * pictures).byte(), eye)
    for factor in (torch.nan, torch.inf, 0.0):
        with pytest.raises(ConventionError, match="inverse"):
            move_pictures(pictures, factor * eye)
    torch.testing.assert_close(move_pictures(pictures, eye), pictures)


@pytest.mark.parametrize("label", [np.inf, -1.0, 1e12, 1j, 0.5])
def test_labels_of_affnist_are_whole_numbers(tmp_path, label):
    fields = {"image": np.zeros((1600, 2), np.uint8), "label_int": np.array([[label, 1]])}
    savemat(tmp_path / "1.mat", {"affNISTdata": fields})
    with pytest.raises(DataFormatError, match="whole numbers"):
        read_affnist(tmp_path / "1.mat")
