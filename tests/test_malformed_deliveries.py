"""Every malformed delivery: refused at opening in one clear sentence, or repaired in memory; nothing is touched."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from deliveries import digitalglobe, dimap, gaofen, landsat
from deliveries.index import DELIVERIES, pack, write_pair_counts
from deliveries.pixels import formula, write_tiff

from ship_geo.api import open_scene, pansharpen_scene
from ship_geo.cli import main
from ship_geo.errors import GridError, ProductError

DAMAGED = "copy or download it again"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders: `inputs` to write into, `elsewhere` with files that tempt, `work` for scratch folders and outputs."""
    found = SimpleNamespace(**{name: tmp_path / name for name in ("inputs", "elsewhere", "work")})
    for folder in vars(found).values():
        folder.mkdir()
    found.all = tmp_path
    write_tiff(found.elsewhere / "outside.tif", formula(4, 64, 64), size=2)
    (found.elsewhere / "outside.txt").write_text("GF2")
    monkeypatch.setattr(tempfile, "tempdir", str(found.work))
    return found


@pytest.fixture
def server(monkeypatch):
    """A port that nobody must connect to, neither from Python nor from GDAL."""

    def refuse(*_):
        pytest.fail("a document made a connection")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/outside.tif"
        with pytest.raises(BlockingIOError):
            listener.accept()


def listing(folder):
    """All that is below a folder: links by target, files by content and time."""
    table = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            table[path] = path.readlink()
        elif path.is_file():
            table[path] = path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            table[path] = "folder"
    return table


IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x1, 0x20, 0x800


@contextmanager
def unread(paths):
    """Check that nobody opens these files, whatever the library: the kernel tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        yield
        return
    watch = libc.inotify_init1(IN_NONBLOCK)
    try:
        for path in paths:
            assert libc.inotify_add_watch(watch, os.fsencode(path), IN_ACCESS | IN_OPEN) >= 0
        yield
        with pytest.raises(BlockingIOError):
            os.read(watch, 4096)
    finally:
        os.close(watch)


# Refused -------------------------------------------------------------------------------------------------------------


def no_pan(place, _):
    return digitalglobe.bad_no_pan(place.inputs)


def only_pan(place, _):
    return digitalglobe.wv1_pan_only(place.inputs)


def no_tile(place, _):
    return digitalglobe.bad_tile(place.inputs)


def sharpened(place, _):
    return digitalglobe.bad_sharpened(place.inputs)


def sharpened_dimap(place, _):
    return dimap.phr_pms(place.inputs)


def mixed(place, _):
    return digitalglobe.bad_mixed(place.inputs)


def truncated(share):
    def write(place, _):
        root = write_pair_counts(place.inputs)
        os.truncate(root / "pan.tif", round((root / "pan.tif").stat().st_size * share))
        return root

    return write


def truncated_tile(place, _):
    root = digitalglobe.wv2_2a_til(place.inputs)
    tile = next(root.rglob("*P2AS_R2C1*.TIF"))
    os.truncate(tile, tile.stat().st_size // 2)
    return root


def other_tile(place, _):
    root = digitalglobe.wv2_2a_til(place.inputs)
    write_tiff(next(root.rglob("*M2AS_R1C2*.TIF")), formula(8, 40, 32), size=2.0, corner=(500128.0, 4640000.0))
    return root


def other_zone(place, _):
    return write_pair_counts(place.inputs, ms={"crs": "EPSG:32634"})


def far_away(place, _):
    return write_pair_counts(place.inputs, ms={"corner": (510000.0, 4640000.0)})


def pan_without_crs(place, _):
    return write_pair_counts(place.inputs, pan={"crs": None})


def bomb(place, _):
    return gaofen.bad_xml_bomb(place.inputs)


def entity(place, _):
    return gaofen.bad_xml_entity(place.inputs, place.elsewhere / "outside.txt")


def remote_entity(place, url):
    return gaofen.bad_xml_entity(place.inputs, SimpleNamespace(as_uri=lambda: url))


def doctype(which):
    return lambda place, _: dimap.bad_doctype(place.inputs, which=which)


def hostile_member(hostile, kind):
    return lambda place, _: gaofen.bad_tar(place.inputs, hostile, kind=kind)[0]


def empty_archive(kind):
    return lambda place, _: gaofen.bad_empty_tar(place.inputs, kind=kind)


def empty_pan(place, _):
    root = write_pair_counts(place.inputs)
    (root / "pan.tif").write_bytes(b"")
    return root


def empty_metadata(place, _):
    root = digitalglobe.wv3_1b(place.inputs)
    next(root.rglob("*-M1BS-*.IMD")).write_bytes(b"")
    return root


def link(place, _):
    root = digitalglobe.bad_link(place.inputs)
    (place.inputs / "outside.TIF").rename(place.elsewhere / "outside.TIF")
    tile = next(path for path in root.rglob("*.TIF") if path.is_symlink())
    tile.unlink()
    tile.symlink_to(place.elsewhere / "outside.TIF")
    return root


def til_path(target):
    def write(place, url):
        root = digitalglobe.bad_til_path(place.inputs, target.format(place.elsewhere / "outside.tif", url))
        (place.inputs / "other.TIF").rename(place.elsewhere / "other.TIF")
        return root

    return write


def vrt(target):
    def write(place, url):
        root = write_pair_counts(place.inputs)
        name = target.format(place.elsewhere / "outside.tif", url)
        band = f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{name}</SourceFilename>'
        text = f'<VRTDataset rasterXSize="64" rasterYSize="64">{band}</SimpleSource></VRTRasterBand></VRTDataset>'
        (root / "pan.tif").write_text(text)
        return root

    return write


def vrt_mask(target):
    def write(place, url):
        root = vrt(target)(place, url)
        mask = (root / "pan.tif").rename(root / "pan.tif.MSK")
        flag = '<Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata><VRTRasterBand'
        mask.write_text(mask.read_text().replace("<VRTRasterBand", flag).replace("UInt16", "Byte"))
        write_tiff(root / "pan.tif", formula(1, 1027, 1027), size=0.5)
        return root

    return write


def href(volume):
    def write(place, _):
        root = dimap.bad_href(place.inputs, volume=volume)
        shutil.move(place.inputs / "outside", place.elsewhere)
        return root

    return write


def wrong_encoding(place, _):
    root = gaofen.gf2_dir_old(place.inputs)
    path = next(root.glob("*-MSS2.xml"))
    path.write_bytes(path.read_bytes().replace(b"PMS2", b"\xff\xff\x80PMS2"))
    return root


def wrong_encoding_of_imd(place, _):
    root = digitalglobe.wv3_1b(place.inputs)
    path = next(root.rglob("*-P1BS-*.IMD"))
    path.write_bytes(path.read_bytes().replace(b"WV03", b"\xff\xff\x80"))
    return root


def surface_values(place, _):
    return landsat.l8_c2(place.inputs, level="L2SP")


def wide_camera(place, _):
    return gaofen.wfv(place.inputs)


STAYS = "must stay inside the delivery"
DOCTYPE = r"DOCTYPE.* got .*{}"
REFUSED = {
    "bad_no_pan": (no_pan, r"got the MS product 16JUN23095330-M2AS\S* and no PAN product found in .*; pass the folder"),
    "wv1": (only_pan, r"got the PAN product 16JUN23095329-P2AS\S* and no multispectral product found .*WorldView-1"),
    "bad_tile": (no_tile, r"got no 16JUN23095330-M2AS_R2C2\S*\.TIF of the 4 tiles .*\.TIL lists; copy .*missing="),
    "bad_truncated 90": (truncated(0.9), rf"got \d+ of at least \d+ bytes .*pan\.tif.*; .*{DAMAGED}"),
    "bad_truncated 50": (truncated(0.5), rf"got \d+ of at least \d+ bytes .*pan\.tif.*; .*{DAMAGED}"),
    "bad_truncated 2": (truncated(0.02), r"pan\.tif.*; .*again"),
    "truncated tile": (truncated_tile, rf"got \d+ of at least \d+ bytes .*P2AS_R2C1.*; .*{DAMAGED}"),
    "tile of another size": (other_tile, r"M2AS_R1C2.*;"),
    "bad_xml_bomb": (bomb, DOCTYPE.format("-MSS2.xml")),
    "bad_xml_entity": (entity, DOCTYPE.format("-MSS2.xml")),
    "bad_xml_entity http": (remote_entity, DOCTYPE.format("-MSS2.xml")),
    "doctype in MS": (doctype("ms"), DOCTYPE.format("DIM_PHR1A_MS.XML")),
    "doctype in PAN": (doctype("pan"), DOCTYPE.format("DIM_PHR1A_P.XML")),
    "doctype in volume": (doctype("volume"), DOCTYPE.format("VOL_PHR.XML")),
    "bad_tar ..": (hostile_member("parent", "tar.gz"), r"\.\./\.\./outside\.tiff.*tar\.gz;"),
    "bad_tar .. plain": (hostile_member("parent", "tar"), r"\.\./\.\./outside\.tiff.*\.tar;"),
    "bad_tar absolute": (hostile_member("absolute", "tar.gz"), r"/abs/x\.tiff.*tar\.gz;"),
    "bad_tar link": (hostile_member("link", "tar.gz"), r"x\.tiff.*tar\.gz;"),
    "bad_tar hard link": (hostile_member("hard link", "tar"), r"x\.tiff.*\.tar;"),
    "bad_tar device": (hostile_member("device", "tar.gz"), r"device.*tar\.gz;"),
    "bad_empty tar.gz": (empty_archive("tar.gz"), r"empty.*\.tar\.gz.*; .*again"),
    "bad_empty zip": (empty_archive("zip"), r"empty.*\.zip.*; .*again"),
    "bad_empty pan": (empty_pan, r"got the empty file .*pan\.tif; copy"),
    "bad_empty IMD without twin": (empty_metadata, r"058800100010_01.*;"),
    "bad_link": (link, r"links must stay inside .*, got .*M2AS_R1C1.* to .*outside\.TIF.*`follow_links=True`"),
    "bad_til_path": (til_path("../../other.TIF"), rf"{STAYS}, got \.\./\.\./other\.TIF in .*\.TIL;"),
    "bad_til_path absolute": (til_path("{0}"), rf"{STAYS}, got /.*outside\.tif in .*\.TIL;"),
    "bad_til_path remote": (til_path("/vsicurl/{1}"), rf"{STAYS}, got /vsicurl/http.* in .*\.TIL;"),
    "bad_vrt": (vrt("{0}"), r"got VRT text, which names other files, in .*pan\.tif; convert"),
    "bad_vrt remote": (vrt("/vsicurl/{1}"), r"got VRT text, which names other files, in .*pan\.tif; convert"),
    "VRT as a mask": (vrt_mask("{0}"), r"must be a TIFF, got another format in .*pan\.tif\.MSK; remove"),
    "VRT as a mask, remote": (vrt_mask("/vsicurl/{1}"), r"must be a TIFF, .*pan\.tif\.MSK; remove"),
    "bad_href": (href(False), rf"{STAYS}, got \.\./\.\./outside/IMG_X_R1C1\.TIF in .*DIM_PHR1A_MS\.XML;"),
    "bad_href volume": (href(True), rf"{STAYS}, got \.\./outside/DIM_PHR1A_MS\.XML in .*VOL_PHR\.XML;"),
    "bad_sharpened": (sharpened, r"must not be pan-sharpened, got \w+ 'UNB' in .*M2AS\S*\.IMD; pass the bundle"),
    "sharpened dimap": (sharpened_dimap, r"got the pan-sharpened product DIM_PHR1A_PMS\.XML .*; order the bundle"),
    "bad_mixed": (mixed, r"got CatId 1030010000000001 in .*M2AS.*\.IMD and 1030010000000002 in .*P2AS.*\.IMD .*; pass"),
    "wrong encoding": (wrong_encoding, r"-MSS2\.xml.*;"),
    "wrong encoding of IMD": (wrong_encoding_of_imd, r"P1BS\S*\.IMD.*;"),
    "level 2": (surface_values, r"no PAN in level 2; pass the level 1 product"),
    "no PAN camera": (wide_camera, r"WFV.*PAN.*;"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory):
    """What loads with the first scene is not counted for the scenes below."""
    open_scene(DELIVERIES["gf2_dir_old"].write(tmp_path_factory.mktemp("warm"), ms_shape=(4, 4)))


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_once_and_nothing_else_is_touched(case, place, server, capsys):
    write, message = REFUSED[case]
    source = write(place, server)
    before, output = listing(place.all), place.work / "fused.tif"
    start = time.process_time()
    tempting = [path for path in place.elsewhere.rglob("*") if path.is_file()]
    with unread(tempting), pytest.raises(ProductError, match=f"(?s){message}") as caught:
        pansharpen_scene(source, model="exp", output=output, progress=False)
    assert time.process_time() - start < 1
    assert type(caught.value) is ProductError
    assert main(["info", str(source), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["error"]
    assert (told["type"], told["exit_code"]) == ("ProductError", 1)
    gc.collect(1)  # the frames of the errors
    assert listing(place.all) == before
    assert not Path("/abs").exists()


@pytest.mark.parametrize("case", ["bad_xml_bomb", "bad_xml_entity", "doctype in volume"])
def test_entities_cost_no_memory(case, place, server):
    source = REFUSED[case][0](place, server)
    tracemalloc.start()
    try:
        with pytest.raises(ProductError):
            open_scene(source)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


UNRELATED = {
    "bad_crs": (other_zone, r"must overlap .*, got PAN \(.*\) and MS \(.*\) .*EPSG:3263[34].*; check the CRS labels"),
    "bad_overlap": (far_away, r"must overlap .*, got PAN \(500000, .*\) and MS \(510000, .*\) .*EPSG:32633; check"),
    "bad_crs none": (pan_without_crs, r"got no CRS for PAN beside EPSG:32633; .*assume_aligned=True"),
}


@pytest.mark.parametrize("case", UNRELATED)
def test_pairs_without_common_ground_are_refused(case, place, server, capsys):
    write, message = UNRELATED[case]
    source = write(place, server)
    before = listing(place.all)
    with pytest.raises(GridError, match=f"(?s){message}"):
        pansharpen_scene(source, model="exp", output=place.work / "fused.tif", progress=False)
    assert main(["info", str(source), "--json"]) == 2  # the pair was passed, not delivered: usage
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "GridError"
    assert listing(place.all) == before


# Repaired ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "said"), [(digitalglobe.bad_imd_small, "40 x 80"), (digitalglobe.bad_imd_large, "80 x 120")]
)
def test_size_comes_from_the_tiles(write, said, place):
    source = write(place.inputs)
    before = listing(place.all)
    record = open_scene(source).record()
    (warning,) = record.pop("warnings")
    assert said in warning
    assert "64 x 96" in warning
    good = open_scene(digitalglobe.wv2_2a_til(place.work)).record()
    assert record == {key: value for key, value in good.items() if key != "warnings"}
    assert {path: value for path, value in listing(place.all).items() if place.inputs in path.parents} == {
        path: value for path, value in before.items() if place.inputs in path.parents
    }


def test_empty_imd_falls_back_to_its_twin(place):
    found = open_scene(digitalglobe.bad_empty(place.inputs)).record()
    good = open_scene(digitalglobe.wv2_2a_til(place.work)).record()
    told = [note for note in found["notes"] if note not in good["notes"]]
    assert told == ["IMD of 16JUN23095330-M2AS-056078906010_01_P001 is empty: read from its XML twin"]
    assert {**found, "notes": []} == {**good, "notes": []}


def test_links_are_followed_on_request(place, server):
    source = link(place, server)
    followed = open_scene(source, follow_links=True)
    good = open_scene(digitalglobe.wv2_2a_til(place.work))
    assert followed.record() == good.record()
    with followed.ms.open() as found, good.ms.open() as expected:
        assert (found.read(0, 64, 0, 96)[0] == expected.read(0, 64, 0, 96)[0]).all()


def test_missing_crs_may_be_taken_from_the_other(place, server):
    record = open_scene(pan_without_crs(place, server), assume_aligned=True).record()
    assert (record["crs"], record["ratio"], record["output"]["shape"]) == ("EPSG:32633", [4, 4], [1024, 1024])


def test_one_bad_member_spoils_a_zip_too(place):
    root = digitalglobe.bad_tile(place.inputs)
    with pytest.raises(ProductError, match=r"got no 16JUN23095330-M2AS_R2C2\S*\.TIF"):
        open_scene(pack(root, place.inputs / "order.zip"))
