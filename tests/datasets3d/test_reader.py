"""The reader, on a folder in the published layout that is written here without our writer."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from PIL import Image

from datasets3d import ThreeDIEBench
from datasets3d.views.latents import rotation_matrix
from equivariant.errors import ConventionError, DataFormatError

# Lengths 32, 28, 31 and 37 occur; the last is a letter and a dashed UUID.
CHAIR, SHORT, ODD = "1a" * 16, "2b" * 14, "3" * 31
DASHED = "u0123abcd-4567-89ab-cdef-0123456789ab"
TRAIN = [("04379243", CHAIR), ("02691156", SHORT), ("03001627", DASHED), ("03001627", ODD)]
VAL = [("04379243", "4c" * 16), ("02958343", CHAIR)]
RANK = {"02691156": 0, "02958343": 1, "03001627": 2, "04379243": 3}
VIEWS = 4


def picture(size, seed):
    """A smooth image, so that JPEG changes it little."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def write_views(folder, views, *, columns=7, size=16, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for view in range(views):
        Image.fromarray(picture(size, 100 * seed + view)).save(
            folder / f"image_{view}.jpg", quality=95, subsampling=0
        )
        np.save(folder / f"latent_{view}.npy", random.uniform(0, 1, columns))


def write_lists(root):
    for name, keys in (("train", TRAIN), ("val", VAL)):
        np.save(root / f"{name}_images.npy", np.array([f"/{c}/{o}/" for c, o in keys]))
        np.save(root / f"{name}_labels.npy", np.array([RANK[c] for c, _ in keys]))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    for seed, (synset, name) in enumerate(TRAIN + VAL):
        write_views(folder / synset / name, VIEWS, seed=seed)
    write_lists(folder)
    (folder / "LICENSE").write_text("words")
    return folder


@pytest.fixture
def root(template, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(template, tmp_path, dirs_exist_ok=True)


def test_published_layout(root):
    data = ThreeDIEBench(root)
    assert len(data) == 4 and data.views == VIEWS and data.missing == []
    assert data.object_ids == [f"{c}/{o}" for c, o in TRAIN], "in the order of the list"
    assert data.label_names == sorted(RANK)
    for index, (synset, name) in enumerate(TRAIN):
        for view in range(VIEWS):
            latent = np.load(root / synset / name / f"latent_{view}.npy")
            np.testing.assert_array_equal(data.latents[index, view], latent)
            np.testing.assert_array_equal(data.rotations[index, view], rotation_matrix(latent))
            error = np.abs(data.image(index, view).astype(int) - picture(16, 100 * index + view))
            assert error.mean() < 3.0
    assert data.latents.dtype == np.float64 and data.image(0, 0).dtype == np.uint8


@pytest.mark.parametrize("split", ["train", "val"])
def test_label_is_the_rank_of_the_synset(root, split):
    data = ThreeDIEBench(root, split)
    published = np.load(root / f"{split}_labels.npy")
    np.testing.assert_array_equal(data.labels, published)
    assert data.labels.dtype == np.int64
    (root / f"{split}_labels.npy").unlink()
    np.testing.assert_array_equal(ThreeDIEBench(root, split).labels, published)


def test_rank_is_preferred_to_listed_labels(root):
    np.save(root / "train_labels.npy", np.array([9, 9, 9, 9]))
    np.testing.assert_array_equal(ThreeDIEBench(root).labels, [3, 0, 2, 2])


def test_labels_of_another_list_are_refused(root):
    np.save(root / "train_labels.npy", np.array([3, 0, 2]))
    with pytest.raises(DataFormatError, match=r"train_labels\.npy.*4 labels"):
        ThreeDIEBench(root)
    assert len(ThreeDIEBench(root, "val")) == 2


def test_rows_with_or_without_slashes(root):
    expected = ThreeDIEBench(root).object_ids
    for form in ("{0}/{1}", "{0}/{1}/", "/{0}/{1}", "/data/3DIEBench/{0}/{1}/"):
        np.save(root / "train_images.npy", np.array([form.format(*key) for key in TRAIN]))
        assert ThreeDIEBench(root).object_ids == expected


def test_absent_objects_are_named(root):
    np.save(root / "train_images.npy",
            np.array([f"/{c}/{o}/" for c, o in [("01111111", "gone"), *TRAIN]]))  # fmt: skip
    (root / "train_labels.npy").unlink()
    data = ThreeDIEBench(root)
    assert data.missing == ["01111111/gone"] and len(data) == 4
    np.testing.assert_array_equal(data.labels, [4, 1, 3, 3])  # listed classes count


def test_all_objects_absent(root):
    np.save(root / "train_images.npy", np.array(["/01111111/gone/"] * 4))
    with pytest.raises(DataFormatError, match=r"train_images\.npy.*4 objects, all absent"):
        ThreeDIEBench(root)


@pytest.mark.parametrize("fewer", [1, 2])
def test_surplus_views_are_not_used(root, fewer):
    write_views(root / "03001627" / ODD, 50, size=16, seed=3)
    assert ThreeDIEBench(root).views == VIEWS
    for view in range(fewer, VIEWS):
        (root / "03001627" / DASHED / f"latent_{view}.npy").unlink()
    data = ThreeDIEBench(root)
    assert data.views == fewer and data.latents.shape == (4, fewer, 7)
    assert data.load_images().shape == (4, fewer, 3, 16, 16)


def test_fifty_views(root):
    for seed, (synset, name) in enumerate(VAL):
        write_views(root / synset / name, 50, size=8, seed=seed)
    data = ThreeDIEBench(root, "val")
    assert data.views == 50
    np.testing.assert_array_equal(
        data.latents[1, 10], np.load(root / "02958343" / CHAIR / "latent_10.npy")
    )


def test_ten_columns_are_cut_to_seven(root):
    write_views(root / "02691156" / SHORT, VIEWS, columns=10, seed=1)
    data = ThreeDIEBench(root)
    stored = np.load(root / "02691156" / SHORT / "latent_2.npy")
    np.testing.assert_array_equal(data.latents[1, 2], stored[:7])


@pytest.mark.parametrize(
    "latent",
    [
        np.zeros(6), np.zeros((7, 1)), np.zeros((1, 7)), np.array(1.0), np.full(7, np.nan),
        np.array(["a"] * 7), np.zeros(7, complex),
    ],
)  # fmt: skip
def test_wrong_latents_are_named(root, latent):
    np.save(root / "03001627" / ODD / "latent_2.npy", latent)
    with pytest.raises(DataFormatError, match=rf"{ODD}/latent_2\.npy"):
        _ = ThreeDIEBench(root).latents


def test_an_object_without_views_is_named(root):
    for path in (root / "03001627" / ODD).iterdir():
        path.unlink()
    with pytest.raises(DataFormatError, match=f"{ODD}: .*no latent"):
        _ = ThreeDIEBench(root).latents


def damaged():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(7.0))
    whole = buffer.getvalue()
    pickled = io.BytesIO()
    np.save(pickled, np.array([None, 1], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(7))
    return {
        "empty": b"", "half": whole[:40], "short": whole[:-8], "text": b"hello world, no array",
        "pickle": pickled.getvalue(), "archive": archive.getvalue(), "cut archive": b"PK\3\4",
        "header": whole[:20] + b"((((" + whole[24:], "huge": whole.replace(b"(7,)", b"(9e9,)"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", damaged())
def test_damaged_arrays_are_named(root, kind):
    (root / "03001627" / ODD / "latent_1.npy").write_bytes(damaged()[kind])
    with pytest.raises(DataFormatError, match=rf"{ODD}/latent_1\.npy"):
        _ = ThreeDIEBench(root).latents
    (root / "train_images.npy").write_bytes(damaged()[kind])
    with pytest.raises(DataFormatError, match=r"train_images\.npy"):
        ThreeDIEBench(root)


@pytest.mark.parametrize(
    "rows",
    [
        np.array(["only-one-part"]), np.array(["/a//"]), np.array([["/a/b/"]]), np.zeros(3),
        np.array("/a/b/"), np.array([b"/a/b/"]), np.array(["/a/b/", ""]), np.array(["x/a//b"]),
    ],
)  # fmt: skip
def test_wrong_lists_are_named(root, rows):
    np.save(root / "train_images.npy", rows)
    with pytest.raises(DataFormatError, match=r"train_images\.npy.*rows"):
        ThreeDIEBench(root)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0 no jpeg", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_images_are_named(root, data):
    path = root / "03001627" / ODD / "image_1.jpg"
    path.write_bytes(data)
    with pytest.raises(DataFormatError, match=rf"{ODD}/image_1\.jpg"):
        ThreeDIEBench(root).image(3, 1)
    with pytest.raises(DataFormatError, match=rf"{ODD}/image_1\.jpg"):
        ThreeDIEBench(root).load_images()


def test_truncated_and_missing_images_are_named(root):
    path = root / "03001627" / ODD / "image_1.jpg"
    data = path.read_bytes()
    for length in (3, 200, len(data) - 20):
        path.write_bytes(data[:length])
        with pytest.raises(DataFormatError, match=r"image_1\.jpg"):
            ThreeDIEBench(root).image(3, 1)
    path.unlink()
    with pytest.raises(DataFormatError, match=r"image_1\.jpg"):
        ThreeDIEBench(root).image(3, 1)


def test_other_formats_are_read(root):
    path = root / "03001627" / ODD / "image_1.jpg"
    for mode, color in (("L", 77), ("P", 3), ("RGB", (1, 2, 3))):
        Image.new(mode, (16, 16), color).save(path, format="PNG")
        assert ThreeDIEBench(root).image(3, 1).shape == (16, 16, 3)
    Image.new("L", (16, 16), 77).save(path, format="JPEG")
    assert (ThreeDIEBench(root).image(3, 1) == 77).all()


def test_missing_folder_list_or_split(root, tmp_path):
    with pytest.raises(DataFormatError, match="no-such"):
        ThreeDIEBench(tmp_path / "no-such")
    with pytest.raises((ConventionError, TypeCheckError)):
        ThreeDIEBench(root, "test")
    (root / "val_images.npy").unlink()
    with pytest.raises(DataFormatError, match=r"val_images\.npy"):
        ThreeDIEBench(root)


def cached(root):
    return sorted(p.name for p in (root / ".cache").glob("*"))


def test_latents_are_cached(root, monkeypatch):
    first = ThreeDIEBench(root).latents
    assert len(cached(root)) == 1 and cached(root)[0].startswith("train_latents-")
    with monkeypatch.context() as patch:
        patch.setattr(ThreeDIEBench, "_read_object", None)  # no object is read again
        np.testing.assert_array_equal(ThreeDIEBench(root).latents, first)
    _ = ThreeDIEBench(root, "val").latents
    assert len(cached(root)) == 2


def test_cache_is_optional(root):
    _ = ThreeDIEBench(root, cache=False).latents
    assert not (root / ".cache").exists()
    (root / ".cache").write_text("a file where the folder would be: it cannot be written")
    assert ThreeDIEBench(root).latents.shape == (4, VIEWS, 7)


def test_a_stale_cache_is_dropped(root):
    """Objects rewritten with other latents, a view that came late, another order of the list."""

    def check():
        np.testing.assert_array_equal(
            ThreeDIEBench(root).latents, ThreeDIEBench(root, cache=False).latents
        )
        assert len(cached(root)) == 1, "the old one is removed"

    before = ThreeDIEBench(root).latents
    write_views(root / "03001627" / ODD, VIEWS, seed=77)
    check()
    assert not np.array_equal(ThreeDIEBench(root).latents, before)
    for synset, name in TRAIN:
        write_views(root / synset / name, VIEWS + 1, seed=5)
    check()
    assert ThreeDIEBench(root).views == VIEWS + 1
    np.save(root / "train_images.npy", np.array([f"/{c}/{o}/" for c, o in TRAIN[::-1]]))
    check()


def test_a_damaged_cache_is_not_believed(root):
    expected = ThreeDIEBench(root).latents
    for data in (b"", b"hello", np.zeros(3).tobytes()):
        (root / ".cache" / cached(root)[0]).write_bytes(data)
        np.testing.assert_array_equal(ThreeDIEBench(root).latents, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_load_images_equals_single_images(root, threads):
    data = ThreeDIEBench(root)
    images = data.load_images(threads=threads)
    assert images.shape == (4, VIEWS, 3, 16, 16) and images.dtype == np.uint8
    for index in range(4):
        for view in range(VIEWS):
            expected = data.image(index, view).transpose(2, 0, 1)
            np.testing.assert_array_equal(images[index, view], expected)


def test_images_are_resized(root):
    data = ThreeDIEBench(root)
    images = data.load_images(size_px=8)
    assert images.shape == (4, VIEWS, 3, 8, 8)
    expected = Image.fromarray(data.image(2, 1)).resize((8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images[2, 1], np.asarray(expected).transpose(2, 0, 1))
    np.testing.assert_array_equal(data.load_images(size_px=16), data.load_images())


def test_images_of_another_size(root):
    write_views(root / "03001627" / ODD, VIEWS, size=24, seed=3)
    with pytest.raises(DataFormatError, match=rf"{ODD}/image_0\.jpg.*16 x 16.*24 x 24"):
        ThreeDIEBench(root).load_images()
    assert ThreeDIEBench(root).load_images(size_px=16).shape[-1] == 16


def test_channel_statistics(root):
    data = ThreeDIEBench(root)
    mean, std = data.channel_statistics()
    pixels = np.concatenate([data.image(k, 0).reshape(-1, 3) for k in range(4)]) / 255.0
    np.testing.assert_allclose(mean, pixels.mean(0))
    np.testing.assert_allclose(std, pixels.std(0))
    mean, _ = data.channel_statistics(objects=1)
    np.testing.assert_allclose(mean, data.image(0, 0).reshape(-1, 3).mean(0) / 255.0)


def test_fixed_pairs(root):
    data = ThreeDIEBench(root)
    pairs = data.fixed_pairs(5, seed=1)
    assert pairs.shape == (20, 3) and pairs.dtype == np.int64
    assert (pairs[:, 0] == np.repeat(range(4), 5)).all()
    assert (pairs[:, 1] != pairs[:, 2]).all()
    assert pairs[:, 1:].min() >= 0 and pairs[:, 1:].max() < VIEWS
    np.testing.assert_array_equal(ThreeDIEBench(root).fixed_pairs(5, seed=1), pairs)
    np.testing.assert_array_equal(data.fixed_pairs(3, seed=1)[:3], pairs[:3])
    assert not np.array_equal(data.fixed_pairs(5, seed=2), pairs)


def test_fixed_pairs_do_not_depend_on_other_objects(root):
    pairs = ThreeDIEBench(root).fixed_pairs(6)
    np.save(root / "train_images.npy", np.array([f"/{c}/{o}/" for c, o in TRAIN[2:]]))
    (root / "train_labels.npy").unlink()
    np.testing.assert_array_equal(ThreeDIEBench(root).fixed_pairs(6)[:, 1:], pairs[12:, 1:])


def test_fixed_pairs_are_uniform(root):
    pairs = ThreeDIEBench(root).fixed_pairs(3000)
    counts = np.zeros((VIEWS, VIEWS))
    np.add.at(counts, (pairs[:, 1], pairs[:, 2]), 1)
    expected = len(pairs) / (VIEWS * (VIEWS - 1))
    off = ~np.eye(VIEWS, dtype=bool)
    assert not counts[~off].any()
    chi_square = ((counts[off] - expected) ** 2 / expected).sum()
    assert chi_square < 11 + 5 * np.sqrt(22)


def test_one_view_makes_no_pairs(root):
    for key in TRAIN:
        for view in range(1, VIEWS):
            (root / key[0] / key[1] / f"latent_{view}.npy").unlink()
    with pytest.raises(ConventionError, match="two views"):
        ThreeDIEBench(root).fixed_pairs()
