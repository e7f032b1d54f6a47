"""IDX files: what is read is what was written, and what is damaged is refused by name."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from datasets3d import Digits, read_mnist
from datasets3d.digits import read_idx, write_idx
from equivariant.errors import ConventionError, DataFormatError, ShapeError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def write_set(root, images, labels, *, end="", part="train"):
    write_idx(root / f"{part}-images-idx3-ubyte{end}", images)
    write_idx(root / f"{part}-labels-idx1-ubyte{end}", labels)


@pytest.fixture
def arrays():
    images = np.arange(7 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(7, 28, 28)
    return images, np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("shape", [(5,), (0,), (1, 2, 3), (2, 0, 3), (70000,)])
def test_arrays_return(tmp_path, shape, end):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_idx(tmp_path / f"a{end}", array)
    back = read_idx(tmp_path / f"a{end}")
    assert back.dtype == np.uint8 and back.shape == shape
    np.testing.assert_array_equal(back, array)


def test_the_bytes_of_a_file_are_those_of_the_format(tmp_path):
    write_idx(tmp_path / "a", np.array([[7, 8, 9]], np.uint8))
    assert (tmp_path / "a").read_bytes() == bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9])
    write_idx(tmp_path / "a.gz", np.array([[7, 8, 9]], np.uint8))
    first = (tmp_path / "a.gz").read_bytes()
    write_idx(tmp_path / "a.gz", np.array([[7, 8, 9]], np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == first


@pytest.mark.parametrize("end", ["", ".gz"])
def test_splits(tmp_path, arrays, end):
    images, labels = arrays
    write_set(tmp_path, images, labels, end=end)
    write_set(tmp_path, images[:2], labels[:2], end=end, part="t10k")
    for split, rows in (("train", slice(0, 4)), ("val", slice(4, 7)), ("test", slice(0, 2))):
        found, names = read_mnist(tmp_path, split, held_out=3)
        np.testing.assert_array_equal(found, images[rows])
        np.testing.assert_array_equal(names, labels[rows])
        assert found.dtype == np.uint8 and names.dtype == np.int64
    assert len(read_mnist(tmp_path, "train", held_out=0)[0]) == 7
    assert len(read_mnist(tmp_path, "train", held_out=7)[0]) == 0
    with pytest.raises(ConventionError, match="held_out"):
        read_mnist(tmp_path, "val")


def test_the_other_spelling_of_names_is_read(tmp_path, arrays):
    write_idx(tmp_path / "train-images.idx3-ubyte", arrays[0])
    write_idx(tmp_path / "train-labels.idx1-ubyte.gz", arrays[1])
    assert len(read_mnist(tmp_path, held_out=1)[0]) == 6


DAMAGE = {
    "empty": lambda data: b"",
    "three bytes": lambda data: data[:3],
    "half a header": lambda data: data[:9],
    "truncated": lambda data: data[:-1],
    "too long": lambda data: data + b"\0",
    "floats": lambda data: data[:2] + bytes([13]) + data[3:],
    "no magic": lambda data: b"\x89PNG" + data[4:],
    "no axes": lambda data: data[:3] + bytes([0]) + data[4:],
    "cut gzip": lambda data: gzip.compress(data)[:-9],
    "damaged gzip": lambda data: gzip.compress(data)[:40] + bytes(50),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused(tmp_path, arrays, damage):
    write_set(tmp_path, *arrays)
    path = tmp_path / IMAGES
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(DataFormatError, match=IMAGES):
        read_mnist(tmp_path, held_out=1)


def test_missing_files_and_other_counts_are_refused(tmp_path, arrays):
    images, labels = arrays
    with pytest.raises(DataFormatError, match=f"{IMAGES}: .*no such file"):
        read_mnist(tmp_path, held_out=1)
    write_set(tmp_path, images, labels[:-1])
    with pytest.raises(DataFormatError, match=f"{LABELS}: expected 7 labels"):
        read_mnist(tmp_path, held_out=1)
    write_set(tmp_path, images[0], labels)
    with pytest.raises(DataFormatError, match=f"{IMAGES}: expected 3 axes"):
        read_mnist(tmp_path, held_out=1)


def test_digits_are_centred(tmp_path, arrays):
    images, labels = arrays
    write_set(tmp_path, images, labels)
    digits = Digits(tmp_path, held_out=2)
    assert digits.images.shape == (5, 40, 40) and digits.images.dtype == np.uint8
    np.testing.assert_array_equal(digits.images[:, 6:34, 6:34], images[:5])
    assert digits.images.sum(dtype=int) == images[:5].sum(dtype=int)
    assert digits.labels.tolist() == digits.targets.tolist() == [3, 1, 4, 1, 5]
    pictures = digits.pictures(np.array([2, 0]))
    np.testing.assert_allclose(pictures[0, 0].numpy(), digits.images[2] / 255.0, atol=1e-7)
    assert digits.pictures().shape == (5, 1, 40, 40) and pictures.shape == (2, 1, 40, 40)
    assert Digits(tmp_path, split="val", held_out=2, size_px=28).images.shape == (2, 28, 28)
    assert Digits(tmp_path, held_out=7).pictures().shape == (0, 1, 40, 40)


def test_smaller_counts_are_nested(tmp_path):
    count = 300
    images = np.zeros((count, 2, 2), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
    write_set(tmp_path, images, (np.arange(count) % 10).astype(np.uint8))

    def chosen(number, seed=0):
        kept = Digits(tmp_path, held_out=0, size_px=2, count=number, seed=seed)
        place = 256 * kept.images[:, 0, 0].astype(int) + kept.images[:, 0, 1]
        assert (kept.labels == place % 10).all()
        return place.tolist()

    few, more = chosen(20), chosen(100)
    assert few == sorted(set(few)) and set(few) < set(more) and len(more) == 100
    assert chosen(count) == list(range(count))
    assert set(chosen(20, seed=1)) != set(few)
    for options in ({"count": 0}, {"count": count + 1}, {"count": 3, "seed": -1}):
        with pytest.raises(ConventionError, match="count"):
            Digits(tmp_path, held_out=0, size_px=2, **options)


def test_other_frames_and_arrays_are_refused(arrays):
    images, labels = arrays
    for size in (27, 41, 26, 0):
        with pytest.raises(ConventionError, match="size_px"):
            Digits.of(images, labels.astype(np.int64), size_px=size)
    with pytest.raises(ShapeError, match="square"):
        Digits.of(images[:, :, :20], labels.astype(np.int64))
    with pytest.raises(ShapeError, match="label"):
        Digits.of(images, labels[:3].astype(np.int64))


def test_digests_tell_sets_apart(arrays):
    images, labels = arrays[0], arrays[1].astype(np.int64)
    first = Digits.of(images, labels)
    assert first.digest() == Digits.of(images.copy(), labels.copy()).digest()
    others = (Digits.of(images[::-1], labels), Digits.of(images, labels[::-1]),
              Digits.of(images, labels, size_px=42))  # fmt: skip
    assert len({first.digest(), *(other.digest() for other in others)}) == 4


def test_mnist_itself(real_data):
    root = real_data / "mnist"
    sizes = {"train": 50_000, "val": 10_000, "test": 10_000}
    sets = {split: read_mnist(root, split) for split in sizes}
    assert {split: len(images) for split, (images, _) in sets.items()} == sizes
    assert all(images.shape[1:] == (28, 28) for images, _ in sets.values())
    # published checksums of the uncompressed files, whose headers have 16 and 8 bytes
    header = bytes([0, 0, 8, 3, 0, 0, 0x27, 0x10, 0, 0, 0, 28, 0, 0, 0, 28])
    digest = hashlib.md5(header + sets["test"][0].tobytes()).hexdigest()
    assert digest == "2646ac647ad5339dbf082846283269ea"
    labels = np.concatenate([sets["train"][1], sets["val"][1]])
    digest = hashlib.md5(bytes([0, 0, 8, 1, 0, 0, 0xEA, 0x60]) + labels.astype(np.uint8).tobytes())
    assert digest.hexdigest() == "a25bea736e30d166cdddb491f175f624"
