"""Which files of a folder are objects, of which class and which split."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from datasets3d.meshes.decode import SUFFIXES
from datasets3d.meshes.folders.archives import ENDINGS
from datasets3d.meshes.folders.names import Found, named
from datasets3d.meshes.source import MeshEntry, Split
from equivariant.errors import DataFormatError

SPLITS: Final[dict[str, Split]] = {"train": "train", "test": "val", "val": "val"}
MODEL_FILES: Final = (  # of ShapeNetCore 2 and 1, and of Sketchfab and Objaverse
    "models/model_normalized.obj", "model_normalized.obj", "model.obj", "scene.gltf", "scene.glb",
)  # fmt: skip
COMPANIONS: Final = (  # what mesh files refer to
    ".mtl", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga", ".tif", ".tiff", ".gif",
    ".ktx2", ".dds", ".exr", ".hdr",
)  # fmt: skip


def scan(root: Path, *, kept: Mapping[str, str] | None = None) -> list[MeshEntry]:
    """List the objects below a folder; reads no mesh.

    A class is a folder of the root, not hidden, that holds mesh files in one of these places:

    - directly, or in sub-folders ``train``, ``val`` and ``test`` (``test`` becomes "val"):
      ``chair/a.glb``, ModelNet's ``chair/train/chair_0001.off``;
    - one folder per model, ShapeNetCore's ``03001627/<model>/models/model_normalized.obj``
      (version 2) or ``03001627/<model>/model.obj`` (version 1), Sketchfab's and Objaverse's
      ``chair/<uid>/scene.gltf``, or one mesh file of the folder's name,
      ``chair/<model>/<model>.glb``; the model's folder is its name. A class that holds neither
      mesh files nor split folders itself may have two or more model folders, in all splits
      together, with one mesh file of any name; in split folders of a class
      (``chair/train/<model>/mesh.obj``) one is enough.

    ``train``, ``val`` and ``test`` folders of the root that hold no mesh themselves are split
    folders around the same layouts, unless all that they hold are such folders with meshes: then
    they are classes of these names. Mesh files beside no class folder make one class, named after
    the root. Everything else is ignored: other files, deeper folders, folders without a mesh;
    :func:`ignored` names it.

    Names: characters but letters and digits (of any script), ``_ . -`` become ``_``, leading dots
    too. Files whose names are then the same (letter case apart) get ``-`` and the first eight
    digits of the SHA-256 of their path from the root; likewise class folders.

    Args:
        root: The folder.
        kept: Names that stay as they are, as :func:`folders.names.named` takes them.

    Returns:
        Entries sorted by (label, object_id), with paths from the root.

    Raises:
        DataFormatError: The folder is missing, unreadable, or holds no object.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "my chair" / "test").mkdir(parents=True)
        >>> (root / "my chair" / "test" / "red.off").touch()
        >>> scan(root)[0].label, scan(root)[0].object_id, scan(root)[0].split
        ('my_chair', 'red', 'val')
    """
    return sorted(named(find(root), kept or {}))


def find(root: Path, *, any_name: bool = True) -> list[Found]:
    """What :func:`scan` lists, before it has names: class folder, stem, split and path from the
    root of each object.

    Args:
        root: The folder.
        any_name: Whether the one mesh file of a model's folder may have any name.

    Raises:
        DataFormatError: As :func:`scan`.
    """
    if root.is_file():
        raise _refuse(root, "a folder of meshes", "a file", "Pass the folder that holds it.")
    if not root.is_dir():
        raise _refuse(root, "a folder of meshes", "no such folder", "Check the path.")
    try:
        splits = [n for n in SPLITS if (root / n).is_dir() and _is_split(root / n)]
        models = _models(root, splits) if any_name and splits else Counter()
        found = _classes(root, root, any_name, models)
        for name in splits:
            inner = _classes(root / name, root, any_name, models)
            found += [(c, stem, SPLITS[name], p) for c, stem, _, p in inner]
        if not found:
            found = [(root.resolve().name, p.stem, None, p.name) for p in _meshes(root)]
    except OSError as error:
        raise _refuse(root, "a readable folder", str(error), "Check its permissions.") from None
    if not found:
        raise _refuse(
            root,
            f"class folders with {', '.join(SUFFIXES)} files",
            "none",
            _where_else(root),
        )
    return found


def _where_else(root: Path) -> str:
    """What to do about a folder without an object: a folder or an archive in it may have some."""
    for folder in _folders(root):
        if any(_meshes(inner) for inner in _folders(folder)):
            return f"Pass the folder {folder.name} in it."
    with os.scandir(root) as items:
        archives = sorted(i.name for i in items if i.name.lower().endswith(ENDINGS))
    if archives:
        return f"Archives in a folder are not unpacked: pass {archives[0]} itself."
    return "Lay it out as <class>/<file>, <class>/<train or test>/<file>, or as ShapeNetCore."


def top_of(root: Path) -> Path:
    """The folder that holds classes: the root, or where it holds nothing but one folder and no
    object, that one, and so on; as archives often are. Model folders whose one file has another
    name count where none of them holds an object otherwise.

    Args:
        root: The folder.

    Raises:
        DataFormatError: None of them holds an object.
    """
    top = _top(root, any_name=False) or _top(root, any_name=True)
    if top is None:
        find(root)  # says what is wrong
    return top or root


def _top(root: Path, *, any_name: bool) -> Path | None:
    top = root
    while True:
        try:
            find(top, any_name=any_name)
        except DataFormatError:
            inner = [folder for folder in _folders(top) if folder.name != "__MACOSX"]
            if len(inner) != 1:
                return None
            top = inner[0]
        else:
            return top


def ignored(root: Path, entries: Sequence[MeshEntry]) -> list[str]:
    """Files and folders below a folder that are neither objects nor what objects refer to.

    Materials, images and buffers (``COMPANIONS``) are not named, nor folders of nothing else. A
    folder without an object is named once, with a slash, in place of what it holds.

    Args:
        root: The folder.
        entries: Its objects, as :func:`scan` lists them.

    Returns:
        Paths from the root, sorted.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "chair").mkdir()
        >>> for name in ("chair/a.off", "chair/b.fbx", "chair/red.png", "all.zip"):
        ...     (root / name).touch()
        >>> ignored(root, scan(root))
        ['all.zip', 'chair/b.fbx']
    """
    files = {entry.path for entry in entries}
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents}
    found: list[str] = []
    left = [root]
    while left:
        with os.scandir(left.pop()) as items:
            for item in items:
                path = Path(item.path)
                name = _from(root, path)
                if not _is_dir(item):
                    if name not in files and path.suffix.lower() not in COMPANIONS:
                        found.append(name)
                elif name in folders:
                    left.append(path)
                elif not _only_companions(path):
                    found.append(f"{name}/")
    return sorted(found)


def classes_called_as_splits(root: Path, entries: Sequence[MeshEntry]) -> list[str]:
    """Folders ``train``, ``val`` and ``test`` of a folder that are classes, not splits.

    Args:
        root: The folder.
        entries: Its objects, as :func:`scan` lists them.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/a.off", "test/b.off"):
        ...     (root / name).parent.mkdir()
        ...     (root / name).touch()
        >>> classes_called_as_splits(root, scan(root))
        ['test', 'train']
    """
    first = {entry.path.split("/")[0] for entry in entries if "/" in entry.path}
    return sorted(name for name in first & set(SPLITS) if not _is_split(root / name))


def _only_companions(folder: Path) -> bool:
    """Whether a folder holds materials, images and buffers alone, at any depth."""
    with os.scandir(folder) as items:
        inner = list(items)
    return bool(inner) and all(
        (not item.is_symlink() and _only_companions(Path(item.path)))
        if _is_dir(item) else Path(item.name).suffix.lower() in COMPANIONS
        for item in inner
    )  # fmt: skip


def _models(root: Path, splits: Sequence[str]) -> Counter[str]:
    """How many folders of one mesh file each class has in all splits together."""
    tops = [root, *(root / name for name in splits)]
    return Counter(
        folder.name
        for top in tops
        for folder in _folders(top)
        if top != root or folder.name not in splits
        for model in _folders(folder)
        if len(_meshes(model)) == 1
    )


def _classes(folder: Path, root: Path, any_name: bool, models: Counter[str]) -> list[Found]:
    found: list[Found] = []
    for path in _folders(folder):
        if folder == root and path.name in SPLITS and _is_split(path):
            continue
        found += _class(path, root, any_name, models[path.name])
    return found


def _is_split(folder: Path) -> bool:
    """Whether a folder with the name of a split holds classes, not the splits of a class."""
    inner = _folders(folder)
    splits = [path for path in inner if path.name in SPLITS and _meshes(path)]
    return not _meshes(folder) and not (splits and len(splits) == len(inner))


def _class(folder: Path, root: Path, any_name: bool, everywhere: int) -> list[Found]:
    name, inner = folder.name, _folders(folder)
    found: list[Found] = [(name, p.stem, None, _from(root, p)) for p in _meshes(folder)]
    models = [path for path in inner if len(_meshes(path)) == 1]
    bare = not found and not any(path.name in SPLITS for path in inner)
    of_models = any_name and bare and max(len(models), everywhere) > 1
    for path in inner:
        split = SPLITS.get(path.name)
        if split is None:
            file = _model_file(path, any_name=of_models and path in models)
            found += [] if file is None else [(name, path.name, None, _from(root, file))]
            continue
        found += [(name, p.stem, split, _from(root, p)) for p in _meshes(path)]
        for model in _folders(path):
            file = _model_file(model, any_name=len(_meshes(model)) == 1)
            found += [] if file is None else [(name, model.name, split, _from(root, file))]
    return found


def _model_file(folder: Path, *, any_name: bool) -> Path | None:
    """The mesh of a folder that holds one model, or None; ``any_name`` takes the first there is."""
    known = [folder / file for file in MODEL_FILES if (folder / file).is_file()]
    known += [file for file in _meshes(folder) if any_name or file.stem == folder.name]
    return known[0] if known else None


def _meshes(folder: Path) -> list[Path]:
    with os.scandir(folder) as items:
        names = [i.name for i in items if Path(i.name).suffix.lower() in SUFFIXES and _is_file(i)]
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as items:
        names = [item.name for item in items if not item.name.startswith(".") and _is_dir(item)]
    return [folder / name for name in sorted(names)]


def _is_file(item: os.DirEntry[str]) -> bool:
    """Whether an item is a file; links that lead nowhere or in a circle are none."""
    try:
        return item.is_file()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _is_dir(item: os.DirEntry[str]) -> bool:
    """Whether an item is a folder; links that lead nowhere or in a circle are none."""
    try:
        return item.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _refuse(root: Path, expected: str, got: str, advice: str) -> DataFormatError:
    return DataFormatError(expected=expected, got=got, argument=str(root), advice=advice)
