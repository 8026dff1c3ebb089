from __future__ import annotations

import gc
import gzip
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio
from deliveries.pixels import formula, write_tiff

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products import members, unpacking
from ship_geo.products.archives import Scratch
from ship_geo.products.tree import Tree, is_archive, open_tree

KINDS = ["x.zip", "x.tar", "x.tar.gz", "x.tgz"]
FILES = {"d/a.IMD": b"version = 1;\n", "d/a_thumb.jpg": b"jpg", "d/empty.xml": b""}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def tiff(tmp_path: Path) -> bytes:
    return write_tiff(tmp_path / "source.tif", formula(1, 5, 6), size=2.0).read_bytes()


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def write_archive(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            archive.addfile(entry(name, len(content)), io.BytesIO(content))
    return path


def write_tar(path: Path, *infos: tarfile.TarInfo, mode: str = "w:gz", **options: object) -> Path:
    with tarfile.open(path, mode, **options) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return path


def pixels(tree: Tree, name: str) -> np.ndarray:
    with rasterio.open(tree.path(name), driver="GTiff") as file:
        return file.read()


def refuse(path: Path, scratch: Path, rule: str, **options: object) -> str:
    """The archive is refused, and nothing is left behind."""
    with pytest.raises(ProductError, match=rule) as caught:
        open_tree(path, scratch=scratch, **options)
    assert list(scratch.iterdir()) == []
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_archives_give_names_metadata_and_pixels(tmp_path: Path, scratch: Path, tiff: bytes, name: str) -> None:
    path = write_archive(tmp_path / name, {**FILES, "d/m.TIF": tiff, "d/.hidden": b"", "1/2/3/4/5/deep.tif": tiff})
    tree = open_tree(path, scratch=scratch)
    assert is_archive(path)
    assert tree.names == ("d/a.IMD", "d/a_thumb.jpg", "d/empty.xml", "d/m.TIF")
    assert tree.notes == ("1 files deeper than 4 folders are left out",)
    assert tree.root == str(path)
    assert tree.read("d/a.IMD") == b"version = 1;\n"
    assert tree.read("d/empty.xml") == b""
    assert tree.size("d/m.TIF") == len(tiff)
    assert tree.resolve("d/a.IMD", "M.tif") == "d/m.TIF"
    np.testing.assert_array_equal(pixels(tree, "d/m.TIF"), formula(1, 5, 6))
    with pytest.raises(ProductError, match="must be in the archive"):
        tree.path("d/other.tif")
    tree.close()


@pytest.mark.parametrize(("name", "handler"), [("x.zip", "/vsizip/"), ("x.tar", "/vsitar/")])
def test_zip_and_tar_are_read_in_place_whatever_their_suffix(
    tmp_path: Path, scratch: Path, tiff: bytes, name: str, handler: str
) -> None:
    for place in (tmp_path / "odd.delivery", tmp_path / "f{x}.zip" / "odd.dat", tmp_path / f"f{{x_{name}"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(write_archive(tmp_path / name, {"d/m.tif": tiff}), place)
        tree = open_tree(place, scratch=scratch)
        assert is_archive(place)
        assert tree.path("d/m.tif").startswith(handler)
        np.testing.assert_array_equal(pixels(tree, "d/m.tif"), formula(1, 5, 6))
    assert list(scratch.iterdir()) == []


def test_of_a_tar_gz_only_images_and_metadata_are_unpacked(tmp_path: Path, scratch: Path, tiff: bytes) -> None:
    tree = open_tree(write_archive(tmp_path / "x.tar.gz", {**FILES, "d/m.tiff": tiff}), scratch=scratch)
    (folder,) = scratch.iterdir()
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["a.IMD", "empty.xml", "m.tiff"]
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ProductError, match="only images and metadata are unpacked"):
        tree.path("d/a_thumb.jpg")
    tree.close()
    assert list(scratch.iterdir()) == []


def test_leading_dots_and_backslashes_are_taken_off_names(tmp_path: Path, scratch: Path, tiff: bytes) -> None:
    for name in ("x.tar", "x.tgz"):
        tree = open_tree(write_archive(tmp_path / name, {"./d/m.tif": tiff}), scratch=scratch)
        assert tree.names == ("d/m.tif",)
        np.testing.assert_array_equal(pixels(tree, "d/m.tif"), formula(1, 5, 6))
    tree = open_tree(write_archive(tmp_path / "windows.zip", {"d\\m.tif": tiff, "d\\a.IMD": b"a = 1;"}))
    assert tree.names == ("d/a.IMD", "d/m.tif")
    assert tree.read("d/a.IMD") == b"a = 1;"
    np.testing.assert_array_equal(pixels(tree, "d/m.tif"), formula(1, 5, 6))


class RawName(zipfile.ZipInfo):
    """A member whose name is written as it is, without the flag for UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 (the name that zipfile calls)
        return self.comment, self.flag_bits


def test_zip_names_in_other_encodings_are_readable(tmp_path: Path, tiff: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "gbk.zip", "w") as archive:
        info = RawName("x")
        info.comment = "数据/m.tif".encode("gbk")
        archive.writestr(info, tiff)
    tree = open_tree(write_archive(tmp_path / "utf8.zip", {"数据/m.tif": tiff}))
    assert tree.names == ("数据/m.tif",)
    np.testing.assert_array_equal(pixels(tree, "数据/m.tif"), formula(1, 5, 6))
    other = open_tree(tmp_path / "gbk.zip")
    assert len(other.names) == 1
    np.testing.assert_array_equal(pixels(other, other.names[0]), formula(1, 5, 6))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_tar_names_in_other_encodings_are_decoded(tmp_path: Path, scratch: Path, mode: str, encoding: str) -> None:
    path = write_tar(
        tmp_path / "x.tar", entry("数据/说明.txt", 3), mode=mode, encoding=encoding, format=tarfile.GNU_FORMAT
    )
    tree = open_tree(path, scratch=scratch)
    assert tree.names == ("数据/说明.txt",)
    assert tree.read("数据/说明.txt") == b"\0\0\0"
    tree.close()


def test_names_that_are_no_text_are_left_out(tmp_path: Path, scratch: Path) -> None:
    path = write_tar(tmp_path / "x.tgz", entry("\udcff\udcff.tif", 3), entry("a.tif", 3), format=tarfile.GNU_FORMAT)
    tree = open_tree(path, scratch=scratch)
    assert tree.names == ("a.tif",)
    assert tree.notes == ("1 files are left out, their names are no text",)
    tree.close()


def test_a_tar_with_pax_names_is_unpacked_because_gdal_cannot_see_them(
    tmp_path: Path, scratch: Path, tiff: bytes
) -> None:
    name = f"数/{'n' * 120}.tif"
    with tarfile.open(tmp_path / "pax.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry(name, len(tiff)), io.BytesIO(tiff))
    tree = open_tree(tmp_path / "pax.tar", scratch=scratch)
    assert tree.path(name).startswith(str(scratch))
    np.testing.assert_array_equal(pixels(tree, name), formula(1, 5, 6))
    tree.close()


UNSAFE = ["../../outside.tiff", "/abs/x.tiff", "a/../../x.tif", "a/../b.tif", "..", "C:/x.tif", "..\\x.tif", "a//b.tif"]


@pytest.mark.parametrize("name", KINDS[:3])
@pytest.mark.parametrize("member", UNSAFE)
def test_unsafe_member_names_are_refused_before_anything_is_written(
    tmp_path: Path, scratch: Path, name: str, member: str
) -> None:
    path = write_archive(tmp_path / name, {"good.tif": b"1", member: b"2", "later.tif": b"3"})
    message = refuse(path, scratch, "must have relative names")
    assert f"the member {member} in" in message
    assert not (tmp_path / "outside.tiff").exists()


def test_nul_in_a_zip_name_is_refused(tmp_path: Path, scratch: Path) -> None:
    path = write_archive(tmp_path / "x.zip", {"a.tif_b.tif": b"1"})
    path.write_bytes(path.read_bytes().replace(b"a.tif_b", b"a.tif\0b"))
    refuse(path, scratch, "must have relative names")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_in_a_tar_are_refused(tmp_path: Path, scratch: Path, mode: str, kind: bytes) -> None:
    path = write_tar(tmp_path / "x.tar", entry("good.tif", 5), entry("dev.tif", kind=kind), mode=mode)
    refuse(path, scratch, r"got the special file dev\.tif")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../x", "/etc/passwd", "", "../e/../../x", "C:/x", "..\\..\\x"])
def test_links_in_a_tar_that_leave_the_root_are_refused(
    tmp_path: Path, scratch: Path, mode: str, kind: bytes, target: str
) -> None:
    infos = [entry("good.tif", 5), entry("d/link.tif", kind=kind, target=target)]
    path = write_tar(tmp_path / "x.tar", *infos, mode=mode, format=tarfile.GNU_FORMAT)
    refuse(path, scratch, r"links must stay inside the archive, got d/link\.tif")


def test_links_in_a_tar_that_stay_inside_are_not_followed(tmp_path: Path, scratch: Path) -> None:
    links = [
        entry("d/a.tif", kind=tarfile.SYMTYPE, target="../good.tif"),
        entry("b.tif", 0, tarfile.LNKTYPE, "good.tif"),
    ]
    tree = open_tree(write_tar(tmp_path / "x.tgz", entry("good.tif", 5), *links), scratch=scratch)
    assert tree.names == ("good.tif",)
    assert tree.notes == ("2 links in the archive are not followed",)
    tree.close()


def test_a_file_written_through_an_earlier_link_is_refused(tmp_path: Path, scratch: Path) -> None:
    infos = [entry("d", kind=tarfile.SYMTYPE, target="."), entry("d", 5)]
    refuse(write_tar(tmp_path / "x.tgz", *infos), scratch, "a member must occur once")
    tree = open_tree(write_tar(tmp_path / "y.tgz", infos[0], entry("d/a.tif", 5)), scratch=scratch)
    assert not Path(tree.path("d/a.tif")).parent.is_symlink()
    tree.close()


@pytest.mark.parametrize(("kind", "rule"), [(0o120777, "links must stay inside"), (0o020666, "special file")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, scratch: Path, kind: int, rule: str) -> None:
    info = zipfile.ZipInfo("d/link.tif")
    info.external_attr = kind << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "../../x")
    refuse(tmp_path / "x.zip", scratch, rule)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", KINDS[:3])
def test_duplicate_members_are_refused(tmp_path: Path, scratch: Path, name: str) -> None:
    if name == "x.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a.tif", "1")
            archive.writestr("a.tif", "2")
        path = tmp_path / name
    else:
        mode = "w" if name == "x.tar" else "w:gz"
        path = write_tar(tmp_path / name, entry("a.tif", 1), entry("./a.tif", 2), mode=mode)
    refuse(path, scratch, r"a member must occur once, got a\.tif twice")


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, scratch: Path) -> None:
    refuse(write_tar(tmp_path / "x.tgz", entry("a.tif", 1), entry("a.tif/b.tif", 1)), scratch, "must be whole")


def test_encrypted_zips_are_refused(tmp_path: Path, scratch: Path) -> None:
    path = write_archive(tmp_path / "x.zip", {"a.tif": b"1"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    refuse(path, scratch, r"must not be encrypted, got the encrypted member a\.tif")


def test_zip_methods_that_gdal_lacks_are_refused_for_images(tmp_path: Path, scratch: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.tif", "1")
    refuse(tmp_path / "x.zip", scratch, "must be stored or deflated, got method 14")


@pytest.mark.parametrize("name", KINDS[:3])
def test_declared_sizes_over_the_limit_are_refused(tmp_path: Path, scratch: Path, name: str) -> None:
    path = write_archive(tmp_path / name, {"a.tif": bytes(600), "b.jpg": bytes(600)})
    open_tree(path, scratch=scratch, max_unpacked=1200).close()
    refuse(path, scratch, r"at most 1199 bytes unpacked.*raise `max_unpacked`", max_unpacked=1199)


def test_a_gzip_bomb_with_a_huge_declared_file_is_refused_without_inflating(tmp_path: Path, scratch: Path) -> None:
    header = entry("a.jpg", 2**40).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "bomb.tgz"
    path.write_bytes(gzip.compress(header + bytes(2**20)))
    refuse(path, scratch, "bytes unpacked")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_gzip_bomb_with_a_huge_header_is_refused_in_little_memory(tmp_path: Path, scratch: Path, kind: bytes) -> None:
    path = tmp_path / "bomb.tgz"
    path.write_bytes(gzip.compress(entry("h", 2**29, kind).tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))
    tracemalloc.start()
    refuse(path, scratch, "a header of a tar must have")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_bytes_behind_the_end_of_a_tar_gz_are_counted(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "_MAX_HEADERS", 2**20)
    path = write_tar(tmp_path / "x.tgz", entry("a.tif", 5))
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(2**22)))
    refuse(path, scratch, "must not grow beyond `max_unpacked`", max_unpacked=2**20)


def test_negative_sizes_end_in_an_error(tmp_path: Path, scratch: Path) -> None:
    block = bytearray(entry("a.tif", 0).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + b"\xfc\x00"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    for kind, raw in (("x.tar", bytes(block)), ("x.tgz", gzip.compress(bytes(block)))):
        (tmp_path / kind).write_bytes(raw + bytes(0))
        with pytest.raises(ProductError):
            open_tree(tmp_path / kind, scratch=scratch)


def test_too_many_members_are_refused(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_NAMES", 2)
    for name in KINDS[:3]:
        refuse(write_archive(tmp_path / name, {"a/": b"", "b/": b"", "c": b""}), scratch, "at most 2 members")


@pytest.mark.parametrize("name", KINDS)
def test_empty_archives_are_named_as_such(tmp_path: Path, scratch: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert is_archive(tmp_path / name)
    refuse(tmp_path / name, scratch, "the file is empty")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.85])
def test_truncated_archives_are_refused(tmp_path: Path, scratch: Path, name: str, kept: float) -> None:
    content = np.random.default_rng(0).bytes(40_000)
    path = write_archive(tmp_path / name, {"a.tif": content, "b.tif": content})
    os.truncate(path, int(path.stat().st_size * kept))
    refuse(path, scratch, "an archive must be")


def test_flipped_bits_in_a_tar_gz_are_found(tmp_path: Path, scratch: Path) -> None:
    path = write_archive(tmp_path / "x.tgz", {"a.tif": np.random.default_rng(0).bytes(40_000)})
    raw = bytearray(path.read_bytes())
    raw[20_000] ^= 1
    path.write_bytes(raw)
    refuse(path, scratch, "must be whole and readable")


def test_flipped_bits_in_zip_metadata_are_found_at_the_read(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.zip", {"a.IMD": bytes(range(256))})
    path.write_bytes(path.read_bytes().replace(bytes(range(100, 110)), bytes(10)))
    with pytest.raises(ProductError, match="must be whole and readable"):
        open_tree(path).read("a.IMD")


@pytest.mark.parametrize(
    "raw", [b"hello world" * 100, gzip.compress(b"hello world" * 100, mtime=0), bytes(2048), b"PK\3\4xx"]
)
def test_files_of_another_kind_are_refused(tmp_path: Path, scratch: Path, raw: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(raw)
    refuse(tmp_path / "x.tar.gz", scratch, "an archive must be")


@pytest.mark.parametrize("name", KINDS[:3])
def test_large_metadata_are_refused(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(members, "MAX_BYTES", 2**20)
    path = write_archive(tmp_path / name, {"a.XML": bytes(2**20 + 1)})
    tree = open_tree(path, scratch=scratch)
    with pytest.raises(ProductError, match="at most 1 MiB"):
        tree.read("a.XML")
    tree.close()


def test_a_full_disk_is_found_before_writing(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    path = write_archive(tmp_path / "x.tgz", {"a.tif": bytes(1000)})
    refuse(path, scratch, "must have room for 1000 bytes.*as `scratch`")


def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpacking, "_unpack_member", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_tree(write_archive(tmp_path / "x.tgz", {"a.tif": b"1"}), scratch=scratch)
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_is_none_is_a_bad_argument(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.tgz", {"a.tif": b"1"})
    for parent in (tmp_path / "nothing", path):
        with pytest.raises(ArgumentError, match="`scratch` must be a folder"):
            open_tree(path, scratch=parent)


def test_the_scratch_folder_lives_as_long_as_its_handle(tmp_path: Path, scratch: Path) -> None:
    tree = open_tree(write_archive(tmp_path / "x.tgz", {"a.tif": b"1"}), scratch=scratch)
    handle, path = tree.scratch, tree.path("a.tif")
    del tree
    gc.collect()
    assert Path(path).exists()
    assert handle is not None
    del handle
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_copies_of_a_handle_never_remove_the_folder(scratch: Path) -> None:
    owner = Scratch(scratch)
    copy = pickle.loads(pickle.dumps(owner))
    assert (copy.path, copy.is_owner, owner.is_owner) == (owner.path, False, True)
    copy.close()
    del copy
    gc.collect()
    assert Path(owner.path).is_dir()
    owner.close()
    owner.close()
    assert not Path(owner.path).exists()


def test_a_pickled_tree_reads_but_does_not_own(tmp_path: Path, scratch: Path) -> None:
    for name in KINDS:
        tree = open_tree(write_archive(tmp_path / name, FILES), scratch=scratch)
        copy = pickle.loads(pickle.dumps(tree))
        assert copy == tree or tree.scratch is not None
        assert copy.read("d/a.IMD") == FILES["d/a.IMD"]
        copy.close()
        assert tree.read("d/a.IMD") == FILES["d/a.IMD"]
        tree.close()


def test_the_scratch_folder_is_gone_after_the_process(scratch: Path) -> None:
    code = (
        "import os, sys; from ship_geo.products.archives import Scratch; one = Scratch(sys.argv[1]);"
        "pid = os.fork();\nif pid == 0: one.close(); sys.exit(0)\n"
        "os.waitpid(pid, 0); print(os.path.isdir(one.path)); sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(scratch)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "True\n")
    assert list(scratch.iterdir()) == []
