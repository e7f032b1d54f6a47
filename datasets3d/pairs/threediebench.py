"""Reads 3DIEBench: the published set, and what ``build`` writes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.pairs.fixed_pairs import draw_fixed_pairs
from datasets3d.pairs.listed_objects import (
    check_arguments,
    format_error,
    listed_objects,
    read_list,
)
from datasets3d.pairs.memory import check_memory
from datasets3d.pairs.poses import names_of_columns, similarities
from datasets3d.views.latents import rotation_matrix
from datasets3d.views.schema import COLUMNS, FIXED_PAIRS, MANIFEST, Manifest
from datasets3d.views.shards.layout import IMAGE, is_sharded
from datasets3d.views.shards.read import ShardReader
from datasets3d.views.storage import (
    ChannelOrder,
    decode_image,
    npy_bytes,
    read_array,
    read_image,
    write_array,
)
from equivariant.errors import ConventionError, DataFormatError
from equivariant.files import read_file

OFFICIAL_MEAN = (0.5016, 0.5037, 0.5060)
OFFICIAL_STD = (0.1030, 0.0999, 0.0969)
CACHE = ".cache"


class ThreeDIEBench:
    """One split of a data set of views with known latents.

        ROOT/<class>/<object id>/image_k.jpg, latent_k.npy      k = 0, 1, ...
        ROOT/{train,val}_images.npy                             rows "/<class>/<object id>/"

    or as shards of tar files, which ``equivariant export --format shards`` writes; these give the
    same views, latents and batches.

    Listed objects that are absent are left out and named in ``missing``. All objects are read
    with as many views as the one that has fewest; the others' surplus is not used. A class's
    number is the rank of its name among all classes of both lists. Latents may have more than
    seven columns: those that the manifest of a set of ours names are kept in ``all_latents``,
    of other sets the first seven.

    Args:
        root: The data set's folder.
        split: "train", "val", or "all": every object there is, whatever the lists say, sorted.
        views: How many views to read of every object, at least 1; objects with fewer are left
            out, too, and named in ``missing``. None is the rule above.
        channel_order: How the files store colors. None takes the manifest's word, "rgb" without
            a manifest. The published images probably need "bgr" for their true colors.
        cache: Keep all latents of the split in one file under ``ROOT/.cache`` after the first
            reading, where that can be written. They are read anew when the list, an object's
            folder, or its first latent has changed. Shards need none.
        check: Of shards, compare every picture with its checksum when it is read.

    Raises:
        DataFormatError: The folder or its lists are missing or damaged, no listed object is
            present, there are more or fewer labels than objects, an object has no view, or a
            latent has the wrong shape; names the file.
        ConventionError: An argument is out of its range.
    """

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "val", "all"] = "train",
        *,
        views: int | None = None,
        channel_order: ChannelOrder | None = None,
        cache: bool = True,
        check: bool = False,
    ) -> None:
        check_arguments(split, views, channel_order)
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise format_error(self.root, "a data set folder", "nothing there")
        self.shards = ShardReader(self.root, check=check) if is_sharded(self.root) else None
        self._views, self._cache = views, cache
        if self.shards is not None:
            self._open_shards(self.shards, channel_order)
            return
        manifest = Manifest.read(self.root) if (self.root / MANIFEST).is_file() else None
        if channel_order is None:
            order = manifest.config["channel_order"] if manifest else "rgb"
            channel_order = "bgr" if order == "bgr" else "rgb"
        self.columns = names_of_columns(manifest)
        self.channel_order: ChannelOrder = channel_order
        listed, self.label_names = listed_objects(self.root, split)
        rank = {name: index for index, name in enumerate(self.label_names)}
        last = "" if views is None else f"latent_{views - 1}.npy"
        here = [(self.root / key).is_dir() and (self.root / key / last).exists() for key in listed]
        self.object_ids: Sequence[str] = [
            key for key, there in zip(listed, here, strict=True) if there
        ]
        self.missing = [key for key, there in zip(listed, here, strict=True) if not there]
        if not self.object_ids:
            raise format_error(
                self.root if split == "all" else self.root / f"{split}_images.npy",
                "at least one object that is present" + (f", with {views} views" if views else ""),
                f"{len(self.missing)} objects, all absent",
            )
        self.labels = np.array([rank[key.split("/")[0]] for key in self.object_ids], np.int64)

    def _open_shards(self, shards: ShardReader, channel_order: ChannelOrder | None) -> None:
        """Take objects and classes from the index of a set of shards."""
        about = shards.about
        self.channel_order = channel_order or about.channel_order
        self.columns = tuple(about.columns[: len(about.columns) - about.joints])
        train = about.objects["train"]
        span = {"train": (0, train), "val": (train, about.number), "all": (0, about.number)}
        self.rows = np.arange(*span[self.split], dtype=np.int64)
        if self.split == "all":
            self.rows = np.argsort(shards.keys.encoded, kind="stable").astype(np.int64)
        if not len(self.rows) or (self._views or 1) > about.views:
            raise format_error(
                self.root, f"at least one object of {self.split} with {self._views or 1} views",
                f"{len(self.rows)} objects with {about.views} views",
            )  # fmt: skip
        self.object_ids, self.missing = shards.keys.some(self.rows), []
        self.label_names = list(about.labels)
        self.labels = shards.labels[self.rows].astype(np.int64)

    def __len__(self) -> int:
        return len(self.object_ids)

    @property
    def views(self) -> int:
        """Views of every object."""
        return int(self.latents.shape[1])

    @cached_property
    def latents(self) -> NDArray[np.float64]:
        """All latents, shape (objects, views, 7), float64; see ``views.latents.COLUMNS``."""
        return self.all_latents[..., : len(COLUMNS)]

    @cached_property
    def all_latents(self) -> NDArray[np.float64]:
        """All latents with the columns of factors, shape (objects, views, K), float64; names of
        the columns are in ``columns``."""
        return self._all_latents()[:, : self._views]

    def _all_latents(self) -> NDArray[np.float64]:
        if self.shards is not None:
            first, last = int(self.rows[0]), int(self.rows[-1]) + 1
            ordered = self.split != "all"  # then a part of the map on disk, not a copy
            found = self.shards.latents[first:last] if ordered else self.shards.latents[self.rows]
            numbers: NDArray[np.float64] = found[..., : len(self.columns)]
            return numbers
        if not self._cache:
            return self._read_latents()
        path = self.root / CACHE / f"{self.split}_latents-{self._state()}.npy"
        if path.is_file():
            with suppress(DataFormatError):  # damaged, or removed by another process just now
                cached = read_array(path)
                if cached.ndim == 3 and cached.shape[::2] == (len(self), len(self.columns)):
                    return cached.astype(np.float64)
        latents = self._read_latents()
        with suppress(OSError):  # a folder that cannot be written is read anew each time
            write_array(path, latents)
            for other in path.parent.glob(f"{self.split}_latents-*.npy"):
                if other != path:
                    other.unlink(missing_ok=True)
        return latents

    @cached_property
    def rotations(self) -> NDArray[np.float64]:
        """World from object of every view, shape (objects, views, 3, 3), float64."""
        return rotation_matrix(self.latents)

    @cached_property
    def poses(self) -> NDArray[np.float64]:
        """World from object of every view, x ↦ s R x + p, shape (objects, views, 4, 4), float64."""
        return similarities(self.all_latents, self.columns)

    def image(self, index: int, view: int) -> NDArray[np.uint8]:
        """One view as sRGB, shape (height, width, 3), uint8.

        Raises:
            DataFormatError: The file is missing or damaged.
        """
        path = self._image_path(index, view)
        if self.shards is not None:
            data = self.shards.read(int(self.rows[index]), view, IMAGE)
            return decode_image(data, path, channel_order=self.channel_order)
        return read_image(path, channel_order=self.channel_order)

    def load_images(
        self,
        *,
        objects: Sequence[int] | None = None,
        size_px: int | None = None,
        threads: int = 4,
    ) -> NDArray[np.uint8]:
        """All views, decoded, shape (objects, views, 3, height, width), uint8.

        In memory channels come last, which batches are made from fastest.

        Args:
            objects: Which objects; None takes all.
            size_px: Resize to this side; None keeps the files' size, which must agree.
            threads: That decode at once.

        Raises:
            DataFormatError: A file is missing, damaged, or of another size.
            InsufficientMemoryError: They do not fit into the memory that is available.
        """
        chosen = range(len(self)) if objects is None else objects
        _, height, width = self.sized_image(0, 0, size_px=size_px).shape
        shape = (len(chosen), self.views, height, width, 3)
        what = f"{shape[0] * shape[1]} views of {height} x {width} px"
        check_memory(math.prod(shape), what=what)
        images = np.empty(shape, dtype=np.uint8)

        def fill(row: int) -> None:
            index = chosen[row]
            for view in range(self.views):
                image = self.sized_image(index, view, size_px=size_px)
                if image.shape[1:] != (height, width):
                    raise format_error(
                        self._image_path(index, view),
                        f"an image of {height} x {width} px, as the first",
                        f"{image.shape[1]} x {image.shape[2]} px",
                    )
                images[row, view] = np.moveaxis(image, 0, -1)

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, range(len(chosen))):
                pass
        return np.moveaxis(images, -1, 2)

    def channel_statistics(self, *, objects: int = 512) -> tuple[NDArray[np.float64], ...]:
        """Mean and deviation of each channel, in [0, 1], over the first view of some objects.

        Args:
            objects: How many, evenly spread over the split.
        """
        indices = np.unique(np.linspace(0, len(self) - 1, min(objects, len(self))).astype(int))
        pixels = np.concatenate([self.image(int(i), 0).reshape(-1, 3) for i in indices])
        scaled = pixels.astype(np.float64) / 255.0
        return scaled.mean(0), scaled.std(0)

    def fingerprint(self, *, pictures: int = 256) -> str:
        """What tells this split from others, wherever it lies: 128 bits in hexadecimal.

        Taken over the objects' names, classes, latents, the order of colors, and the files of
        the first views of some objects.

        Args:
            pictures: How many of them, evenly spread over the split.

        Raises:
            DataFormatError: A file is missing.
        """
        state = hashlib.blake2b(digest_size=16)
        words = [*self.object_ids, *self.label_names, self.channel_order, self.latents.shape]
        state.update("\n".join(map(str, words)).encode())
        state.update(np.ascontiguousarray(self.latents).data)
        for index in np.linspace(0, len(self) - 1, min(pictures, len(self))).astype(int):
            path = self._image_path(int(index), 0)
            try:
                state.update(
                    read_file(path) if self.shards is None
                    else self.shards.read(int(self.rows[index]), 0, IMAGE)
                )  # fmt: skip
            except OSError as error:
                raise format_error(path, "an image", type(error).__name__) from error
        return state.hexdigest()

    def fixed_pairs(self, pairs_per_object: int = 4, *, seed: int = 0) -> NDArray[np.int64]:
        """Pairs of views that are the same whenever and wherever they are asked for.

        Those of the validation split of a set of ours are written in it, ``val_pairs.npy``.

        Args:
            pairs_per_object: Of each object.
            seed: Another seed gives another fixed set.

        Returns:
            Rows (object, first view, second view), the views different, shape (N, 3).

        Raises:
            ConventionError: Objects have fewer than two views.
        """
        check_pairs_exist(self.views)
        if seed == 0 and self.split == "val":
            published = self._published_pairs(pairs_per_object)
            if published is not None:
                return published
        return draw_fixed_pairs(
            self.object_ids, views=self.views, pairs_per_object=pairs_per_object, seed=seed
        )

    def _published_pairs(self, pairs_per_object: int) -> NDArray[np.int64] | None:
        """Those of ``val_pairs.npy`` if it is there and has as many, of the objects present."""
        path = self.root / FIXED_PAIRS
        if not path.is_file():
            return None
        rows = read_array(path)
        listed = read_list(self.root, "val")
        each, left = divmod(len(rows), max(1, len(listed)))
        place = np.repeat(np.arange(len(listed)), each)
        fits = rows.ndim == 2 and rows.shape[1] == 3 and rows.dtype.kind == "i" and not left
        if not fits or (rows[:, 0] != place).any() or (rows[:, 1] == rows[:, 2]).any():
            got = f"{rows.dtype} of shape {rows.shape}"
            raise format_error(path, "rows (place in val_images.npy, view, other view)", got)
        if each < pairs_per_object or rows[:, 1:].max() >= self.views:
            return None
        row_of = {key: row for row, key in enumerate(listed)}
        kept = rows.reshape(len(listed), each, 3)[[row_of[key] for key in self.object_ids]]
        pairs = kept[:, :pairs_per_object].astype(np.int64)
        pairs[:, :, 0] = np.arange(len(self))[:, None]
        return pairs.reshape(-1, 3)

    def sized_image(
        self, index: int, view: int, *, size_px: int | None = None
    ) -> NDArray[np.uint8]:
        """One view, channels first, shape (3, height, width), resized where asked for."""
        image = self.image(index, view)
        if size_px is not None and image.shape[:2] != (size_px, size_px):
            picture = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.LANCZOS)
            image = np.asarray(picture)
        return np.moveaxis(image, -1, 0)

    def _image_path(self, index: int, view: int) -> Path:
        return self.root / self.object_ids[index] / f"image_{view}.jpg"

    def _state(self) -> str:
        """Digest of the objects' names and of the times at which they were written."""
        state = hashlib.blake2b(digest_size=16)
        for key in self.object_ids:
            folder = self.root / key
            first = folder / "latent_0.npy"
            written = [p.stat().st_mtime_ns for p in (folder, first) if p.exists()]
            state.update(f"{key} {written}\n".encode())
        return state.hexdigest()

    def _read_latents(self) -> NDArray[np.float64]:
        with ThreadPoolExecutor(8) as pool:
            objects = list(pool.map(self._read_object, self.object_ids))
        views = min(map(len, objects))
        return np.stack([rows[:views] for rows in objects])

    def _read_object(self, key: str) -> NDArray[np.float64]:
        folder = self.root / key
        rows: list[NDArray[np.float64]] = []
        while (path := folder / f"latent_{len(rows)}.npy").is_file():
            rows.append(_read_latent(path, len(self.columns)))
        if not rows:
            raise format_error(folder, "latent_0.npy, latent_1.npy, ...", "no latent")
        return np.stack(rows)


# What NumPy writes before the numbers of a latent of ours, and of the published ones.
_HEADER = npy_bytes(np.zeros(len(COLUMNS)))[: -8 * len(COLUMNS)]


def _read_latent(path: Path, columns: int) -> NDArray[np.float64]:
    data = read_file(path)
    if data.startswith(_HEADER) and len(data) == len(_HEADER) + 8 * len(COLUMNS):
        row: NDArray[Any] = np.frombuffer(data, np.float64, offset=len(_HEADER))
    else:
        row = read_array(path)
    numbers = row.ndim == 1 and row.shape[0] >= columns and row.dtype.kind in "fiu"
    if not numbers or not np.isfinite(row).all():
        got = f"{row.dtype} of shape {row.shape}" + ", not all finite" * numbers
        raise format_error(path, f"at least {columns} finite numbers", got)
    return row[:columns].astype(np.float64)


def check_pairs_exist(views: int) -> None:
    """Raise ConventionError unless two different views can be drawn."""
    if views < 2:
        raise ConventionError(
            expected="at least two views of every object", got=str(views), argument="dataset",
            advice="Build with views of 2 or more.",
        )  # fmt: skip
