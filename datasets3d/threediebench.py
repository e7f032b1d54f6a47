"""Reads 3DIEBench: the published set, and what ``build`` writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.latents import generator, rotation_matrix
from datasets3d.storage import read_array, read_image, write_array
from equivariant.errors import ConventionError, DataFormatError

OFFICIAL_MEAN = (0.5016, 0.5037, 0.5060)
OFFICIAL_STD = (0.1030, 0.0999, 0.0969)
CACHE = ".cache"


class ThreeDIEBench:
    """One split of a data set of views with known latents.

        ROOT/<class>/<object id>/image_k.jpg, latent_k.npy      k = 0, 1, ...
        ROOT/{train,val}_images.npy                             rows "/<class>/<object id>/"

    Listed objects that are absent are left out and named in ``missing``. All objects are read
    with as many views as the one that has fewest; the others' surplus is not used. A class's
    number is the rank of its name among all classes of both lists. Latents may have more than
    seven columns; the first seven are kept.

    Args:
        root: The data set's folder.
        split: "train" or "val".
        cache: Keep all latents of the split in one file under ``ROOT/.cache`` after the first
            reading; pass False for a read-only folder.

    Raises:
        DataFormatError: The folder or its lists are missing or damaged, no listed object is
            present, an object has no view, or a latent has the wrong shape; names the file.
        ConventionError: The split is unknown.
    """

    def __init__(
        self, root: Path | str, split: Literal["train", "val"] = "train", *, cache: bool = True
    ) -> None:
        if split not in ("train", "val"):
            raise ConventionError(
                expected="train or val", got=repr(split), argument="split",
                advice="There is no separate test split; val is the reported one.",
            )  # fmt: skip
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise _format_error(self.root, "a data set folder", "nothing there")
        listed = {name: _read_list(self.root, name) for name in ("train", "val")}
        self.label_names = sorted({key.split("/")[0] for keys in listed.values() for key in keys})
        rank = {name: index for index, name in enumerate(self.label_names)}
        present = [key for key in listed[split] if (self.root / key).is_dir()]
        self.missing = [key for key in listed[split] if not (self.root / key).is_dir()]
        if not present:
            raise _format_error(
                self.root / f"{split}_images.npy",
                "a list with at least one object that is present",
                f"{len(self.missing)} objects, all absent",
            )
        self.object_ids = present
        self.labels = np.array([rank[key.split("/")[0]] for key in present], dtype=np.int64)
        self._cache = cache

    def __len__(self) -> int:
        return len(self.object_ids)

    @property
    def views(self) -> int:
        """Views of every object."""
        return int(self.latents.shape[1])

    @cached_property
    def latents(self) -> NDArray[np.float64]:
        """All latents, shape (objects, views, 7), float64; see ``datasets3d.latents.COLUMNS``."""
        path = self.root / CACHE / f"{self.split}_latents.npy"
        names = self.root / CACHE / f"{self.split}_objects.npy"
        if path.is_file() and names.is_file():
            cached, keys = read_array(path), read_array(names)
            if keys.tolist() == self.object_ids and cached.shape[0] == len(self):
                return cached.astype(np.float64)
        latents = self._read_latents()
        if self._cache:
            write_array(path, latents)
            write_array(names, np.array(self.object_ids))
        return latents

    @cached_property
    def rotations(self) -> NDArray[np.float64]:
        """World from object of every view, shape (objects, views, 3, 3), float64."""
        return rotation_matrix(self.latents)

    def image(self, index: int, view: int) -> NDArray[np.uint8]:
        """One view as sRGB, shape (height, width, 3), uint8.

        Raises:
            DataFormatError: The file is missing or damaged.
        """
        return read_image(self.root / self.object_ids[index] / f"image_{view}.jpg")

    def load_images(self, *, size_px: int | None = None, threads: int = 4) -> NDArray[np.uint8]:
        """All views, decoded, shape (objects, views, 3, height, width), uint8.

        Args:
            size_px: Resize to this side; None keeps the files' size, which must agree.
            threads: That decode at once.

        Raises:
            DataFormatError: A file is missing, damaged, or of another size.
        """
        first = self.sized_image(0, 0, size_px=size_px)
        images = np.empty((len(self), self.views, *first.shape), dtype=np.uint8)

        def fill(index: int) -> None:
            for view in range(self.views):
                image = self.sized_image(index, view, size_px=size_px)
                if image.shape != first.shape:
                    raise _format_error(
                        self.root / self.object_ids[index] / f"image_{view}.jpg",
                        f"an image of {first.shape[1]} x {first.shape[2]} px, as the first",
                        f"{image.shape[1]} x {image.shape[2]} px",
                    )
                images[index, view] = image

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, range(len(self))):
                pass
        return images

    def channel_statistics(self, *, objects: int = 512) -> tuple[NDArray[np.float64], ...]:
        """Mean and deviation of each channel, in [0, 1], over the first view of some objects.

        Args:
            objects: How many, evenly spread over the split.
        """
        indices = np.unique(np.linspace(0, len(self) - 1, min(objects, len(self))).astype(int))
        pixels = np.concatenate([self.image(int(i), 0).reshape(-1, 3) for i in indices])
        scaled = pixels.astype(np.float64) / 255.0
        return scaled.mean(0), scaled.std(0)

    def fixed_pairs(self, pairs_per_object: int = 4, *, seed: int = 0) -> NDArray[np.int64]:
        """Pairs of views that are the same whenever and wherever they are asked for.

        Args:
            pairs_per_object: Of each object.
            seed: Another seed gives another fixed set.

        Returns:
            Rows (object, first view, second view), the views different, shape (N, 3).

        Raises:
            ConventionError: Objects have fewer than two views.
        """
        check_pairs_exist(self.views)
        rows = []
        for index, key in enumerate(self.object_ids):
            draw = generator(seed, f"pairs|{key}", self.views)
            for _ in range(pairs_per_object):
                first = int(draw.integers(self.views))
                rows.append(
                    (index, first, (first + int(draw.integers(1, self.views))) % self.views)
                )
        return np.array(rows, dtype=np.int64)

    def sized_image(
        self, index: int, view: int, *, size_px: int | None = None
    ) -> NDArray[np.uint8]:
        """One view, channels first, shape (3, height, width), resized where asked for."""
        image = self.image(index, view)
        if size_px is not None and image.shape[:2] != (size_px, size_px):
            picture = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.LANCZOS)
            image = np.asarray(picture)
        return np.moveaxis(image, -1, 0)

    def _read_latents(self) -> NDArray[np.float64]:
        with ThreadPoolExecutor(8) as pool:
            objects = list(pool.map(self._read_object, self.object_ids))
        views = min(map(len, objects))
        return np.stack([rows[:views] for rows in objects])

    def _read_object(self, key: str) -> NDArray[np.float64]:
        folder = self.root / key
        rows: list[NDArray[np.float64]] = []
        while (path := folder / f"latent_{len(rows)}.npy").is_file():
            row = read_array(path)
            if row.ndim != 1 or row.shape[0] < 7 or not np.isfinite(row.astype(float)).all():
                raise _format_error(path, "at least 7 finite numbers", f"shape {row.shape}")
            rows.append(row[:7].astype(np.float64))
        if not rows:
            raise _format_error(folder, "latent_0.npy, latent_1.npy, ...", "no latent")
        return np.stack(rows)


def check_pairs_exist(views: int) -> None:
    """Raise ConventionError unless two different views can be drawn."""
    if views < 2:
        raise ConventionError(
            expected="at least two views of every object", got=str(views), argument="dataset",
            advice="Build with views of 2 or more.",
        )  # fmt: skip


def _read_list(root: Path, split: str) -> list[str]:
    path = root / f"{split}_images.npy"
    rows = read_array(path)
    keys = ["/".join(str(row).strip("/").split("/")[-2:]) for row in rows.tolist()]
    wrong = [key for key in keys if key.count("/") != 1]
    if rows.ndim != 1 or wrong:
        raise _format_error(path, 'rows "/<class>/<object id>/"', repr(wrong[:1] or rows.shape))
    return keys


def _format_error(path: Path, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=str(path),
        advice="See the layout in the documentation of ThreeDIEBench.",
    )  # fmt: skip
