from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ship_geo.errors import ProductError
from ship_geo.products import members
from ship_geo.products.tree import is_archive, open_tree


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_files_are_listed_four_folders_deep_without_hidden_ones(tmp_path: Path) -> None:
    root = write(tmp_path, "b.tif", "a/b/c/d/deep.tif", "a/b/c/d/e/deeper.tif", ".hidden", ".git/x.tif", "A.tif")
    tree = open_tree(root)
    assert tree.names == ("A.tif", "a/b/c/d/deep.tif", "b.tif")
    assert tree.notes == ("folders deeper than 4 are left out: a/b/c/d/e",)
    assert (tree.root, tree.scratch) == (str(root), None)


def test_a_file_is_read_measured_and_located(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path, "MUL/a.IMD"))
    assert tree.read("MUL/a.IMD") == b"MUL/a.IMD"
    assert tree.size("MUL/a.IMD") == 9
    assert tree.path("MUL/a.IMD") == str(tmp_path / "MUL" / "a.IMD")
    (tmp_path / "MUL" / "a.IMD").write_bytes(b"")
    assert tree.read("MUL/a.IMD") == b""


def test_only_listed_files_can_be_reached(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path / "root", "a.tif"))
    write(tmp_path, "b.tif")
    for name in ("b.tif", "../b.tif", str(tmp_path / "b.tif"), "", "./a.tif"):
        for reach in (tree.path, tree.read, tree.size):
            with pytest.raises(ProductError, match="must be in the delivery"):
                reach(name)


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "root/a.tif")
    monkeypatch.chdir(tmp_path)
    assert open_tree("root").path("a.tif") == str(tmp_path / "root" / "a.tif")


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.tif"])
def test_links_that_leave_the_root_need_permission(tmp_path: Path, target: str) -> None:
    write(tmp_path, "outside.tif")
    root = write(tmp_path / "root", "a.tif")
    (root / "link.tif").symlink_to(target)
    tree = open_tree(root)
    assert tree.names == ("a.tif", "link.tif")
    for reach in (tree.path, tree.read, tree.size):
        with pytest.raises(ProductError, match=r"links must stay inside.*link\.tif.*follow_links=True"):
            reach("link.tif")
    assert open_tree(root, follow_links=True).path("link.tif") == str(root / "link.tif")


def test_a_root_with_an_outer_namesake_as_prefix_does_not_hold_it(tmp_path: Path) -> None:
    write(tmp_path, "root2/a.tif")
    root = write(tmp_path / "root", "b.tif")
    (root / "a.tif").symlink_to("../root2/a.tif")
    with pytest.raises(ProductError, match="links must stay inside"):
        open_tree(root).path("a.tif")


def test_links_inside_and_a_root_that_is_a_link_are_fine(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "a/x.tif")
    (root / "b.tif").symlink_to("a/x.tif")
    (tmp_path / "alias").symlink_to(root)
    tree = open_tree(tmp_path / "alias")
    assert tree.read("b.tif") == b"a/x.tif"
    assert tree.path("b.tif") == str(tmp_path / "alias" / "b.tif")


def test_links_to_folders_are_entered_on_request_only_and_once(tmp_path: Path) -> None:
    write(tmp_path, "outside/x.tif")
    root = write(tmp_path / "root", "sub/y.tif")
    (root / "a_loop").symlink_to(".")
    (root / "b_sub").symlink_to("sub")
    (root / "c_out").symlink_to("../outside")
    tree = open_tree(root)
    assert tree.names == ("sub/y.tif",)
    assert tree.notes == ("3 links to folders are not followed, among them a_loop",)
    assert open_tree(root, follow_links=True).names == ("c_out/x.tif", "sub/y.tif")


def test_broken_links_pipes_and_odd_names_are_no_files(tmp_path: Path) -> None:
    root = write(tmp_path, "a.tif")
    (root / "broken.tif").symlink_to("nothing")
    os.mkfifo(root / "pipe.tif")
    (root / "\udcff.tif").touch()
    tree = open_tree(root)
    assert tree.names == ("a.tif",)
    assert tree.notes == ("a file is left out, its name is no text: '\\udcff.tif'",)


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_NAMES", 3)
    open_tree(write(tmp_path, "a", "b", "c"))
    with pytest.raises(ProductError, match="at most 3 files"):
        open_tree(write(tmp_path, "d"))


def test_large_metadata_are_refused(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path, "a.XML"))
    os.truncate(tmp_path / "a.XML", 32 * 2**20)
    assert len(tree.read("a.XML")) == 32 * 2**20
    os.truncate(tmp_path / "a.XML", 32 * 2**20 + 1)
    with pytest.raises(ProductError, match=r"at most 32 MiB, got more in .*a\.XML"):
        tree.read("a.XML")


def test_unreadable_folders_and_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = open_tree(write(tmp_path, "sub/a.IMD"))

    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ProductError, match=r"sub/a\.IMD \(Permission denied\)"):
        tree.read("sub/a.IMD")
    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(ProductError, match=r"must be readable, got .* \(Permission denied\)"):
        open_tree(tmp_path)


def test_a_file_gone_meanwhile_is_named(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path, "a.IMD"))
    (tmp_path / "a.IMD").unlink()
    for reach in (tree.read, tree.size):
        with pytest.raises(ProductError, match=r"a\.IMD \(No such file"):
            reach("a.IMD")


@pytest.mark.parametrize(
    ("base", "relative", "found"),
    [
        ("MUL/a.TIL", "A_R1C1.TIF", "MUL/a_R1C1.tif"),
        ("MUL/a.TIL", " ./a_R1C1.tif\n", "MUL/a_R1C1.tif"),
        ("MUL/a.TIL", "../PAN/P.tif", "PAN/p.tif"),
        ("MUL/a.TIL", "..\\pan\\p.tif", "PAN/p.tif"),
        ("VOL.XML", "MUL/a.TIL", "MUL/a.TIL"),
        ("MUL/a.TIL", "x/../../PAN/p.tif", "PAN/p.tif"),
        ("MUL/a.TIL", "other.tif", None),
        ("MUL/a.TIL", "p.tif", None),
        ("MUL/a.TIL", "", None),
        ("MUL/a.TIL", ".", None),
        ("MUL/a.TIL", "..", None),
        ("MUL/a.TIL", "a\0b", None),
    ],
)
def test_names_in_metadata_are_found_whatever_their_case(
    tmp_path: Path, base: str, relative: str, found: str | None
) -> None:
    tree = open_tree(write(tmp_path, "MUL/a.TIL", "MUL/a_R1C1.tif", "PAN/p.tif", "VOL.XML"))
    assert tree.resolve(base, relative) == found


@pytest.mark.parametrize(
    "relative",
    [
        "../../other.TIF",
        "../..",
        "x/../../../root/MUL/a.TIL",
        "/etc/hostname",
        "\\\\host\\x.tif",
        "C:\\x.tif",
        "c:x.tif",
        "file:///etc/hostname",
        "https://host/x.tif",
        "/vsicurl/https://host/x.tif",
    ],
)
def test_names_in_metadata_that_leave_the_root_are_refused(tmp_path: Path, relative: str) -> None:
    tree = open_tree(write(tmp_path / "root", "MUL/a.TIL"))
    with pytest.raises(ProductError, match=r"must stay inside the delivery, got .* in MUL/a\.TIL"):
        tree.resolve("MUL/a.TIL", relative)


def test_a_name_that_fits_two_files_is_refused_unless_exact(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path, "a.TIL", "x.TIF", "x.tif"))
    if len(tree.names) < 3:
        pytest.skip("this file system ignores case")
    assert tree.resolve("a.TIL", "x.tif") == "x.tif"
    with pytest.raises(ProductError, match=r"must mean one file, got X\.tif in a\.TIL for x\.TIF, x\.tif"):
        tree.resolve("a.TIL", "X.tif")


def test_messages_escape_control_characters(tmp_path: Path) -> None:
    tree = open_tree(write(tmp_path, "a.TIL"))
    with pytest.raises(ProductError, match="stay inside") as caught:
        tree.resolve("a.TIL", "../\x1b[2J\n")
    assert str(caught.value).isprintable()


def test_sources_that_are_no_delivery_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="must exist"):
        open_tree(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(ProductError, match="special file"):
        open_tree(tmp_path / "pipe.zip")
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "pipe.zip")
    assert not is_archive(tmp_path / "nothing.zip")
    with pytest.raises(ProductError, match=r"must be a zip, tar or tar\.gz"):
        open_tree(write(tmp_path, "a.tif") / "a.tif")
    assert not is_archive(tmp_path / "a.tif")


def test_a_link_to_itself_spoils_nothing(tmp_path):
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    (tmp_path / "good.tif").write_bytes(b"x")
    tree = open_tree(tmp_path)
    assert tree.names == ("good.tif",)
    assert "a link that leads to itself is left out: loop.tif" in tree.notes
