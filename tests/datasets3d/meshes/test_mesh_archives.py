"""Archives of meshes: the objects of the folder, and nothing beside the folder meant for them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from datasets3d import BuildConfig, build, repair
from datasets3d.meshes import MeshFolder, Variants
from datasets3d.meshes.folders.archives import ENDINGS, UnpackedArchive, UnpackingLimits, unpack
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError

SQUARE = b"OFF\n4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"
OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red\nf 1 2 3\n"
FILES = {
    "chair/a.obj": OBJ, "chair/a.mtl": b"newmtl red\nKd 1 0 0\n", "lamp/train/b.off": SQUARE,
    "lamp/test/c.off": SQUARE.replace(b"0.5", b"0.7"), "notes.txt": b"mine", "inner.zip": b"PK",
}  # fmt: skip
CONFIG = BuildConfig(views=1, size_px=16, samples_per_side=1)
MODES = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".tbz2": "w:bz2",
         ".xz": "w:xz", ".txz": "w:xz"}  # fmt: skip


def made(path, files=FILES, top=""):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(top + name, data)
        return path
    with tarfile.open(path, MODES[path.suffix]) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, watched."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


def quiet(source, out, **options):
    return build(source, out, **{"config": CONFIG, "workers": 1, "progress": False, **options})


def bytes_of(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("top", ["", "Meshes 2/", "./a/b/"])
def test_objects_are_those_of_the_folder(tmp_path, temporary, ending, top):
    for name, data in FILES.items():
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(data)
    folder, source = MeshFolder(tmp_path / "m"), MeshFolder(made(tmp_path / f"x{ending}", top=top))
    assert source.entries() == folder.entries() and source.ignored() == folder.ignored()
    assert source.describe() == folder.describe()
    for entry in folder.entries():
        assert source.fingerprint(entry) == folder.fingerprint(entry)
        assert source.load(entry).faces.tolist() == folder.load(entry).faces.tolist()
    assert len(list(temporary.iterdir())) == 1
    del source
    assert not list(temporary.iterdir()), "the temporary folder is removed"


def test_a_set_from_an_archive_has_the_bytes_of_one_from_the_folder(tmp_path, temporary):
    archive = made(tmp_path / "x.zip")
    zipfile.ZipFile(archive).extractall(tmp_path / "m")
    quiet(MeshFolder(tmp_path / "m"), tmp_path / "of folder")
    quiet(MeshFolder(archive), tmp_path / "of archive", workers=2)
    assert bytes_of(tmp_path / "of archive") == bytes_of(tmp_path / "of folder")
    (tmp_path / "of folder" / "chair" / "a" / "image_0.jpg").unlink()
    assert repair(tmp_path / "of folder", meshes=archive, workers=1).left == []
    more = made(tmp_path / "more.tar.gz", {**FILES, "chair/d.off": SQUARE})
    assert quiet(MeshFolder(more), tmp_path / "of folder", add=True).rendered == 1
    assert not list(temporary.iterdir())


def test_flat_archives_are_a_class_of_their_name(tmp_path, temporary):
    source = MeshFolder(made(tmp_path / "my chairs.tar.gz", {"a.off": SQUARE}))
    assert [entry.label for entry in source.entries()] == ["my_chairs"]


def test_a_cache_keeps_what_is_unpacked(tmp_path, temporary):
    archive, cache = made(tmp_path / "x.zip"), tmp_path / "cache"
    first = MeshFolder(archive, cache=cache)
    entries = first.entries()
    (kept,) = (cache / "archives").iterdir()
    inode = (kept / "x" / "chair" / "a.obj").stat().st_ino
    again = pickle.loads(pickle.dumps(MeshFolder(archive, cache=cache)))  # noqa: S301
    assert again.entries() == entries
    assert (kept / "x" / "chair" / "a.obj").stat().st_ino == inode
    made(archive, {"chair/other.off": SQUARE})
    assert len(MeshFolder(archive, cache=cache).entries()) == 1
    assert len(list((cache / "archives").iterdir())) == 2 and not list(temporary.iterdir())


def test_copies_share_and_children_remove_nothing(tmp_path, temporary):
    source = MeshFolder(made(tmp_path / "x.zip"))
    copy = pickle.loads(pickle.dumps(Variants(source, count=2)))  # noqa: S301
    del copy
    assert len(source.entries()) == 3 and list(temporary.iterdir())
    code = (
        "import os, sys\nfrom datasets3d.meshes import MeshFolder\n"
        "source = MeshFolder(sys.argv[1])\nsource.entries()\nplace = source._root\n"
        "if os.fork() == 0:\n    del source\n    os._exit(0)\n"
        "os.wait()\nassert place.is_dir()\nprint(place)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.zip")]
    place = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert place and not Path(place).exists(), "removed when the process ends"


def of_zip(change=None, **named):
    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("chair/a.off", SQUARE)
            info = zipfile.ZipInfo("chair/b.off")
            for name, value in named.items():
                setattr(info, name, value)
            archive.writestr(info, b"/etc/passwd")
        if change:
            path.write_bytes(change(path.read_bytes()))

    return write


def of_tar(mode="w", size=None, **named):
    def write(path):
        with tarfile.open(path, mode) as archive:
            for each in ({"name": "chair/a.off"}, {"name": "chair/b.off", **named}):
                member = tarfile.TarInfo()
                for name, value in each.items():
                    setattr(member, name, value)
                member.size = len(SQUARE) if member.isreg() else 0
                archive.addfile(member, io.BytesIO(SQUARE))

    return write


def encrypted(data):
    place = data.rindex(b"PK\x01\x02")
    return data[: place + 8] + struct.pack("<H", 1) + data[place + 10 :]


HOSTILE = {
    "zip, upwards": of_zip(filename="chair/../../b.off"),
    "zip, upwards with backslashes": of_zip(filename="..\\..\\b.off"),
    "zip, absolute": of_zip(filename="/tmp/equivariant-hostile.off"),
    "zip, of a drive": of_zip(filename="C:/b.off"),
    "zip, of a server": of_zip(filename="\\\\server\\b.off"),
    "zip, link": of_zip(create_system=3, external_attr=0o120777 << 16),
    "zip, device": of_zip(create_system=3, external_attr=0o020666 << 16),
    "zip, encrypted": of_zip(encrypted),
    "zip, twice": of_zip(filename="chair/a.off"),
    "zip, a folder in a file": of_zip(filename="chair/a.off/b.off"),
    "zip, a long name": of_zip(filename=f"chair/{'x' * 300}.off"),
    "tar, upwards": of_tar(name="../b.off"),
    "tar, absolute": of_tar(name="/tmp/equivariant-hostile.off"),
    "tar, link": of_tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "tar, hard link": of_tar(type=tarfile.LNKTYPE, linkname="chair/a.off"),
    "tar, device": of_tar(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "tar, pipe": of_tar(type=tarfile.FIFOTYPE),
    "tar.gz, upwards": of_tar("w:gz", name="chair/../../b.off"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_leads_out_is_refused(tmp_path, temporary, kind):
    archive = tmp_path / "in" / "hostile"
    archive.parent.mkdir()
    HOSTILE[kind](archive)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataFormatError, match="hostile: expected"):
        MeshFolder(archive).entries()
    left = [path for path in sorted(tmp_path.rglob("*")) if temporary not in path.parents]
    assert left == before
    assert not Path("/tmp/equivariant-hostile.off").exists()
    with pytest.raises(DataFormatError, match="hostile: expected"):
        MeshFolder(archive, cache=tmp_path / "cache").entries()
    assert not list((tmp_path / "cache").rglob("*.off")), "nothing half-unpacked is left"


def test_the_twins_of_hostile_archives_are_read(tmp_path, temporary):
    for write in (of_zip(), of_tar(), of_tar("w:gz"), of_tar(name="chair/b..off")):
        write(tmp_path / "fine")
        assert len(MeshFolder(tmp_path / "fine").entries()) == 2


def bomb(path, megabytes):
    if path.suffix == ".zip":
        packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        with packed, packed.open("chair/a.off", "w") as file:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))
        return path
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("chair/a.off")
        member.size = megabytes << 20
        archive.addfile(member, _Zeros())
    return path


class _Zeros:
    def read(self, count):
        return bytes(count)


@pytest.mark.parametrize("ending", [".zip", ".tgz"])
def test_bombs_are_refused_before_they_are_written(tmp_path, ending):
    archive = bomb(tmp_path / f"bomb{ending}", 80)
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(DataFormatError, match="times its own"):
        unpack(archive, tmp_path / "out")
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written <= 64 << 20
    unpack(archive, tmp_path / "again", limits=UnpackingLimits(ratio=1e6))  # what is refused
    assert (tmp_path / "again" / "chair" / "a.off").stat().st_size == 80 << 20


def test_headers_of_any_length_are_refused(tmp_path):
    """A tar file's header for long names is read whole, and may be as long as it says."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 150 << 20
    with gzip.open(tmp_path / "long.tgz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(150):
            file.write(bytes(1 << 20))
    with pytest.raises(DataFormatError, match="times its own"):
        unpack(tmp_path / "long.tgz", tmp_path / "out")


def test_numbers_of_files_and_bytes_are_limited(tmp_path):
    archive = made(tmp_path / "x.zip")
    with pytest.raises(DataFormatError, match="more than the limit"):
        unpack(archive, tmp_path / "a", limits=UnpackingLimits(files=5))
    with pytest.raises(DataFormatError, match="at most 100 bytes"):
        unpack(archive, tmp_path / "b", limits=UnpackingLimits(bytes=100))
    unpack(archive, tmp_path / "c", limits=UnpackingLimits(files=6, bytes=1000))
    for wrong in ({"files": 0}, {"bytes": -1}, {"ratio": 0.0}):
        with pytest.raises(ConventionError, match="limits"):
            UnpackingLimits(**wrong)


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz", ".tbz2", ".txz"])
def test_damaged_archives_are_refused_and_never_half_read(tmp_path, ending):
    files = {f"chair/{k}.off": SQUARE * 3 for k in range(4)}
    whole = made(tmp_path / f"x{ending}", files).read_bytes()
    if ending == ".tar":  # behind the files there are zeros alone
        whole = whole[: len(whole.rstrip(b"\0")) + 1100]
    places = range(3, len(whole), max(1, len(whole) // 150))
    wrong = 0
    for number, place in enumerate(places):
        cut = whole[: min(place, len(whole) - 1100)] if ending == ".tar" else whole[:place]
        flipped = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        for kind, data in (("cut", cut), ("flipped", flipped)):
            (tmp_path / "y").write_bytes(data)
            out = tmp_path / f"{kind}{number}"
            try:
                unpack(tmp_path / "y", out)
            except DataFormatError:
                continue
            contents = bytes_of(out)
            if kind == "cut" or len(contents) != 4:
                wrong += 1
            elif ending != ".tar" and set(contents.values()) != {SQUARE * 3}:
                wrong += 1  # plain tar has no checksum of contents
    assert wrong == 0


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07", "a rar archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"some text", "another file"),
        (b"", "another file"),
    ],
)
def test_other_files_are_named(tmp_path, head, says, capsys):
    (tmp_path / "x.bin").write_bytes(head + bytes(2000) if head else b"")
    words = ["--meshes", str(tmp_path / "x.bin"), "--workers", "1"]
    assert main(["build", str(tmp_path / "set"), *words]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_files_and_archives_without_objects(tmp_path):
    (tmp_path / "a.off").write_bytes(SQUARE)
    with pytest.raises(DataFormatError, match=r"a\.off: expected a folder of meshes, got a file"):
        MeshFolder(tmp_path / "a.off").entries()
    with pytest.raises(DataFormatError, match="class folders"):
        MeshFolder(made(tmp_path / "x.zip", {"a/notes.txt": b""})).entries()


def test_the_command_reads_archives(tmp_path, temporary, capsys):
    archive = made(tmp_path / "x.tgz", top="x/")
    words = ["build", str(tmp_path / "set"), "--meshes", str(archive), "--views", "1", "--size",
             "16", "--workers", "1", "--object-seconds", "0"]  # fmt: skip
    for extra in (["--dry-run"], [], ["--add", "--views", "2"]):
        assert main([*words, *extra]) == 0
    assert "kept 3 of 3 objects" in capsys.readouterr().out
    assert main([*words, "--engine", "ray"]) == 1
    assert "--cache: expected" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "set"), "--repair", "--meshes", str(archive)]) == 0
    assert not list(temporary.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    archive = made(tmp_path / "x.zip")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="place that can be written to"):
        UnpackedArchive(archive, keep=tmp_path / "file" / "in it").folder()


def test_what_killed_processes_left_is_removed(tmp_path, temporary):
    code = (
        "import os, signal, sys\nfrom datasets3d.meshes import MeshFolder\n"
        "source = MeshFolder(sys.argv[1])\nsource.entries()\nprint(source._root, flush=True)\n"
        "sys.stdin.read(1)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    archive = made(tmp_path / "x.zip")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(archive)], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    left = Path(process.stdout.readline().strip()).parent
    old = time.time() - 3600
    os.utime(left, (old, old))
    alive = MeshFolder(archive)
    alive.entries()
    assert left.is_dir(), "its process lives"
    process.communicate("x")
    (temporary / "equivariant-meshes-young").mkdir()
    os.symlink(tmp_path, temporary / "equivariant-meshes-link")
    other = MeshFolder(archive)
    os.utime(alive._root.parent, (old, old))
    other.entries()
    assert not left.exists() and alive._root.is_dir() and archive.is_file()
    assert len(list(temporary.iterdir())) == 4


def test_folders_without_objects_say_where_some_may_be(tmp_path):
    made(tmp_path / "x.zip")
    with pytest.raises(DataFormatError, match=r"pass x\.zip itself"):
        MeshFolder(tmp_path).entries()
    (tmp_path / "data" / "chair").mkdir(parents=True)
    (tmp_path / "data" / "chair" / "a.off").write_bytes(SQUARE)
    with pytest.raises(DataFormatError, match="Pass the folder data in it"):
        MeshFolder(tmp_path).entries()
