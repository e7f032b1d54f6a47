"""Images per second of loaders on the same pictures, each with two workers.

    plain        a torch Dataset over the folders, PIL, shuffled by DataLoader
    webdataset   the webdataset library on our shards, its shuffle buffer, PIL
    folders      ViewStream over ThreeDIEBench on the folders
    random       ViewStream on the shards, any view after any other
    windows      ViewStream on the shards, nearly in sequence

plain and webdataset hand out decoded pictures and numbers of classes; ours the latents, too.
`plain, simplejpeg` and `webdataset, simplejpeg` are the same two with our decoder in PIL's place,
so that formats can be compared. Ways take turns, one epoch each; of each the median counts. The
page cache is warm: what is measured is software, not a disk.

    python benchmarks/loading.py --objects 16 --views 50 --size 128 --turns 5
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from datasets3d import (
    BuildConfig,
    ProceduralMeshes,
    ShardSize,
    ThreeDIEBench,
    ViewStream,
    build,
    export,
)

RESULTS = Path(__file__).parent / "results" / "loading.json"
BATCH = 128


def pil(data):
    """Decode as most loaders do."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def simple(data):
    """Decode with the library that ours uses."""
    return simplejpeg.decode_jpeg(data, colorspace="RGB")


def tensor(pixels):
    """Channels first."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


class Plain(Dataset):
    """Files of a folder and the number of their class."""

    def __init__(self, root, decode):
        keys = [str(row).strip("/") for row in np.load(root / "train_images.npy")]
        labels = np.load(root / "train_labels.npy").tolist()
        views = json.loads((root / "plan.json").read_text())["config"]["views"]
        self.files = [(root / key / f"image_{k}.jpg", label)
                      for key, label in zip(keys, labels, strict=True)
                      for k in range(views)]  # fmt: skip
        self.decode = decode

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        path, label = self.files[index]
        return tensor(self.decode(path.read_bytes())), label


def ways(root, shards, workers):
    """Loaders of one epoch, by name."""
    streamed = {"batch_size": None, "num_workers": workers}

    def plain(decode):
        return DataLoader(Plain(root, decode), BATCH, shuffle=True, num_workers=workers)

    def ours(folder, order):
        stream = ViewStream(ThreeDIEBench(folder), BATCH, epochs=1, order=order)
        return DataLoader(stream, **streamed)

    found = {
        "plain": lambda: plain(pil),
        "plain, simplejpeg": lambda: plain(simple),
        "folders": lambda: ours(root, "random"),
        "random": lambda: ours(shards, "random"),
        "windows": lambda: ours(shards, "windows"),
    }
    try:
        import webdataset  # noqa: PLC0415  an extra
    except ImportError:
        return found

    def web(decode):
        names = sorted(map(str, shards.glob("train-*.tar")))
        pipe = webdataset.WebDataset(names, shardshuffle=len(names)).shuffle(1000)
        pipe = pipe.map(lambda s: (tensor(decode(s["jpg"])), int(s["cls"])))
        return DataLoader(pipe.batched(BATCH), **streamed)

    return found | {"webdataset": lambda: web(pil), "webdataset, simplejpeg": lambda: web(simple)}


def images_in(loader):
    """Go through an epoch; how many pictures it had, and seconds from the first batch on."""
    count, started, first = 0, None, 0
    for batch in loader:
        images = batch.images if hasattr(batch, "images") else batch[0]
        count += len(images)
        if started is None:
            started, first = time.perf_counter(), len(images)
    return count, (count - first) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=16, help="of each of 16 classes")
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="keep or reuse the set here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        root, shards = folder / "set", folder / "shards"
        source = ProceduralMeshes(instances=options.objects, val_fraction=0.0)
        config = BuildConfig(views=options.views, size_px=options.size, samples_per_side=1)
        build(source, root, config=config)
        if not shards.is_dir():
            export(root, shards, format="shards", shard_size=ShardSize(images=1400))
        made = ways(root, shards, options.workers)
        rates = {name: [] for name in made}
        expected = len(ThreeDIEBench(root)) * options.views
        for turn in range(options.turns + 1):
            for name, way in made.items():
                count, rate = images_in(way())
                if count != expected:
                    raise SystemExit(f"{name} gave {count} of {expected} images")
                if turn:  # the first warms the page cache
                    rates[name].append(rate)
        sizes = [p.stat().st_size for p in root.rglob("*") if p.is_file()]
        tars = [p.stat().st_size for p in shards.rglob("*") if p.is_file()]
    found = {
        "images": expected, "size_px": options.size, "workers": options.workers, "batch": BATCH,
        "turns": options.turns, "cores": os.cpu_count(), "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "folders": {"files": len(sizes), "MB": round(sum(sizes) / 1e6, 1)},
        "shards": {"files": len(tars), "MB": round(sum(tars) / 1e6, 1)},
        "images_per_s": {n: {"median": round(statistics.median(r)), "least": round(min(r)),
                             "most": round(max(r))} for n, r in rates.items()},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
