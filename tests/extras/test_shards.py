"""The index as a Parquet table, and shards in the webdataset library's own reader."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest

from datasets3d import (
    BuildConfig,
    ProceduralMeshes,
    ShardSize,
    ThreeDIEBench,
    build,
    export,
    rebuild_index,
    verify,
)

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    root = tmp_path_factory.mktemp("parquet")
    source = ProceduralMeshes(instances=4, classes=["chair", "truck"], val_fraction=0.5)
    config = BuildConfig(views=3, size_px=16, passes=("mask",))
    build(source, root / "set", config=config, workers=1, progress=False)
    size = ShardSize(images=6)
    report = export(root / "set", root / "shards", format="shards", shard_size=size,
                    progress=False)  # fmt: skip
    assert report.remarks == []
    return root


def test_rows_lead_to_the_bytes(layouts):
    rows = parquet.read_table(layouts / "shards" / "index.parquet").to_pylist()
    assert len(rows) == len({row["key"] for row in rows}) == 24
    for row in rows:
        folder = layouts / "set" / row["class"] / row["object"]
        tar = (layouts / "shards" / row["shard"]).read_bytes()
        for kind, name in (("jpg", "image_{}.jpg"), ("mask.png", "mask_{}.png")):
            start = row[f"{kind}.offset"]
            data = tar[start : start + row[f"{kind}.length"]]
            assert data == (folder / name.format(row["view"])).read_bytes()
            assert hashlib.blake2b(data, digest_size=16).digest() == row[f"{kind}.checksum"]
        latent = np.load(folder / f"latent_{row['view']}.npy")
        columns = ["rotation_x_rad", "rotation_y_rad", "rotation_z_rad", "floor_hue",
                   "spot_theta_rad", "spot_phi_rad", "spot_hue"]  # fmt: skip
        assert [row[name] for name in columns] == latent.tolist()
        assert row["label"] == ["chair", "truck"].index(row["class"])
        assert row["split"] == row["shard"].split("-")[0]
        assert row["key"] == f"{row['class']}/{row['object']}/{row['view']}"


def test_verify_sees_it_and_it_is_made_again(layouts):
    path = layouts / "shards" / "index.parquet"
    before = path.read_bytes()
    path.unlink()
    assert verify(layouts / "shards") == ["index.parquet is missing"]
    assert len(ThreeDIEBench(layouts / "shards")) == 4, "our reader does without it"
    rebuild_index(layouts / "shards", progress=False)
    assert path.read_bytes() == before and verify(layouts / "shards") == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
def test_webdataset_reads_the_samples(layouts):
    webdataset = pytest.importorskip("webdataset")
    seen = set()
    for path in sorted((layouts / "shards").glob("*.tar")):
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            name, _, view = sample["__key__"].rpartition("/")
            folder = layouts / "set" / name
            assert sample["jpg"] == (folder / f"image_{view}.jpg").read_bytes()
            assert sample["mask.png"] == (folder / f"mask_{view}.png").read_bytes()
            latent = np.load(io.BytesIO(sample["latent.npy"]))
            np.testing.assert_array_equal(latent, np.load(folder / f"latent_{view}.npy"))
            assert int(sample["cls"]) == ["chair", "truck"].index(name.split("/")[0])
            seen.add(sample["__key__"])
    assert len(seen) == 24
