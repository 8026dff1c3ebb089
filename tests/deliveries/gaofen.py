"""GaoFen deliveries: two TIFFs without georeference, flat XML, old and new, and RPB; archives, hostile ones too."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile

from deliveries.pixels import formula, linear_rpc, rpb_text, write_tiff

GF2_NEW = "GF2_PMS1_E108.0_N21.7_20250402_L1A14547899001"
GF2_OLD = "GF2_PMS2_W71.6_S33.1_20160511_L1A0001578901"
GF6 = "GF6_PMS_E116.5_N39.9_20200610_L1A1120010001"
GF1 = "GF1_PMS{}_E116.5_N39.9_20170610_L1A000241500{}"
WFV = "GF1_WFV2_E116.5_N39.9_20170610_L1A0002415003"
GF7 = "GF7_DLC_E116.5_N39.9_20210610_L1A0000416001"

BOMB = '<!DOCTYPE bomb [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
ENTITY = '<!DOCTYPE x [<!ENTITY outside SYSTEM "{}">]>'
HOSTILE = ("parent", "absolute", "link", "hard link", "device")


def new_tags(n_row, n_col, gsd, **changes):
    """Tags of a scene of 2023 or later; a change to None leaves a tag out."""
    tags = {
        "SatelliteID": "GF2", "SensorID": "PMS1", "ProductLevel": "LEVEL1A", "Bands": "1,2,3,4",
        "ReceiveTime": "2025-04-02 11:31:07", "StartTime": "2025-04-02 11:30:55",
        "CenterTime": "2025-04-02 11:30:58", "EndTime": "2025-04-02 11:31:01",
        "ImageGSD": gsd, "WidthInPixels": n_col, "HeightInPixels": n_row, "CloudPercent": 1,
        "RollViewingAngle": 4.1, "PitchViewingAngle": "0.0", "SolarAzimuth": 128.1, "SolarZenith": 25.5,
        "GainMode": "G1", "IntegrationTime": 0.0005, "AbsCeof": "0.1374,0.1784,0.1723,0.1894", "ZoneNo": "",
        **_place(21.7, 108.3),
    }  # fmt: skip
    tags |= {"TopLeftLatitude": 21.8, "TopLeftLongitude": 108.2}
    tags |= {"BottomRightLatitude": 21.6, "BottomRightLongitude": 108.4}
    return _changed(tags, changes)


def old_tags(n_row, n_col, gsd, **changes):
    """Tags of a scene of 2014 to 2022: no centre, no coefficients, an empty zone, four corners."""
    tags = new_tags(n_row, n_col, gsd)
    gone = ("CenterLatitude", "CenterLongitude", "AbsCeof")
    tags = {key: value for key, value in tags.items() if key not in gone and not key.startswith(("Top", "Bottom"))}
    tags |= {"SensorID": "PMS2", "SolarZenith": 59.0}
    tags |= {f"{part}Time": f"2016-05-11 22:{clock}" for part, clock in _OLD_CLOCK.items()}
    for corner, north, east in _CORNERS:
        tags |= {f"{corner}Latitude": -33.1 + 0.1 * north, f"{corner}Longitude": -71.6 + 0.1 * east}
    return _changed(tags, changes)


def xml_text(tags, *, encoding="UTF-8", doctype="", root="ProductMetaData"):
    """The flat XML of these tags."""
    lines = [f"  <{key}>{value}</{key}>" for key, value in tags.items()]
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n{doctype}'
    return "\n".join([head, f"<{root}>", *lines, f"</{root}>", ""])


def write_scene(folder, base, layers, tags, *, ms_shape=(80, 96), pixels=None, lat=0.0, lon=0.0, gsd=3.24, **variant):
    """Write the layers (MS first, then PAN) of one scene.

    `tags(n_row, n_col, gsd, Bands=...)` gives the tags of a layer; `doctype`, `encoding`, `root` go to the XML;
    `without` names files that are left out; `previews` adds the JPEG files; `georeference` goes to `write_tiff`.
    """
    without, georeference = variant.pop("without", ()), variant.pop("georeference", {})
    previews = variant.pop("previews", False)
    for layer, kind in zip(layers, ("ms", "pan"), strict=False):
        scale, n_band = (1, 4) if kind == "ms" else (4, 1)
        n_row, n_col = ms_shape[0] * scale, ms_shape[1] * scale
        stem = folder / f"{base}-{layer}"
        values = (pixels or _pixels)(kind, n_band, n_row, n_col)
        size = {key: value / scale if key == "size" else value for key, value in georeference.items()}
        write_tiff(stem.with_name(f"{stem.name}.tiff"), values, **size)
        own = tags(n_row, n_col, round(gsd / scale, 2), **({} if kind == "ms" else {"Bands": "1", "AbsCeof": None}))
        stem.with_name(f"{stem.name}.xml").write_text(xml_text(own, **variant), encoding="utf-8")
        rpc = linear_rpc((n_row - 1) / 2, n_row / 2, (n_col - 1) / 2, n_col / 2, lat, lon)
        stem.with_name(f"{stem.name}.rpb").write_text(rpb_text(rpc, base.split("_")[0], "P" if kind == "pan" else "M"))
        if previews:
            for suffix in (".jpg", "_thumb.jpg"):
                stem.with_name(f"{stem.name}{suffix}").write_bytes(b"\xff\xd8\xff\xd9")
    for name in without:
        (folder / name).unlink()
    return folder


def gf2_tar_new(folder, *, kind="tar.gz", inside="", pixels=None, extra=(), tags=None, **variant):
    """Write `gf2_tar_new`: an archive of `kind` ``tar.gz``, ``tar``, ``zip``, or ``dir``; `inside` is a folder in it.

    `tags` changes tags of both XML files; `extra` are (TarInfo, bytes) pairs to add to a tar.
    """
    scene = folder / "scene" / GF2_NEW if kind != "dir" else folder / GF2_NEW

    def tagged(n_row, n_col, gsd, **changes):
        return new_tags(n_row, n_col, gsd, **({**(tags or {}), **changes}))

    write_scene(scene, GF2_NEW, ("MSS1", "PAN1"), tagged, pixels=pixels, lat=21.7, lon=108.3, previews=True, **variant)
    if kind == "dir":
        return scene
    path = folder / f"{GF2_NEW}.{kind}"
    _pack(scene, path, kind, inside, extra)
    shutil.rmtree(folder / "scene")
    return path


def gf2_dir_old(folder, *, corners=True, encoding="GB2312", pixels=None, tags=None, **variant):
    """Write `gf2_dir_old`; without `corners` only the name tells the place."""

    def tagged(n_row, n_col, gsd, **changes):
        lost = {} if corners else {f"{name}{axis}": None for name, _, _ in _CORNERS for axis in _AXES}
        return old_tags(n_row, n_col, gsd, **({**lost, **(tags or {}), **changes}))

    scene = folder / GF2_OLD
    place = {"lat": -33.1, "lon": -71.6}
    return write_scene(scene, GF2_OLD, ("MSS2", "PAN2"), tagged, pixels=pixels, encoding=encoding, **place, **variant)


def gf6_dir(folder, *, pixels=None, tags=None, **variant):
    """Write `gf6_dir`."""

    def tagged(n_row, n_col, gsd, **changes):
        return _beijing(n_row, n_col, gsd, "GF6", "PMS", "2020-06-10", **({**(tags or {}), **changes}))

    every = {"lat": 39.9, "lon": 116.5, "gsd": 8.0, "ms_shape": (64, 64)}
    return write_scene(folder / GF6, GF6, ("MUX", "PAN"), tagged, pixels=pixels, **{**every, **variant})


def gf1_cameras(folder, *, layers=("MSS1", "PAN1", "MSS2", "PAN2"), one_name=False):
    """Write both cameras of GF-1 into one folder, each with the name of its camera, or both under the `one_name`."""
    root = folder / "GF1"
    for camera in ("1", "2"):
        base = GF1.format(1, 1) if one_name else GF1.format(camera, camera)
        own = [layer for layer in layers if layer.endswith(camera)]
        missing = [f"{base}-{kind}{camera}" for kind in ("MSS", "PAN") if f"{kind}{camera}" not in own]

        def tagged(n_row, n_col, gsd, camera=camera, **changes):
            return _beijing(n_row, n_col, gsd, "GF1", f"PMS{camera}", "2017-06-10", **changes)

        write_scene(
            root, base, (f"MSS{camera}", f"PAN{camera}"), tagged, ms_shape=(16, 16), lat=39.9, lon=116.5, gsd=8.0,
            without=[f"{stem}.{suffix}" for stem in missing for suffix in ("tiff", "xml", "rpb")],
        )  # fmt: skip
    return root


def gf7_dir(folder, *, layers=("BWDMUX", "BWDPAN", "FWDPAN")):
    """Write a GF-7 scene: the backward camera has both kinds, the forward one PAN only."""

    def tagged(n_row, n_col, gsd, **changes):
        return _beijing(n_row, n_col, gsd, "GF7", "DLC", "2021-06-10", **changes)

    root, every = folder / GF7, {"lat": 39.9, "lon": 116.5, "gsd": 2.6, "ms_shape": (16, 16)}
    if "BWDMUX" in layers:
        write_scene(root, GF7, ("BWDMUX", "BWDPAN"), tagged, **every)
    if "FWDPAN" in layers:
        gone = [f"{GF7}-NONE.{suffix}" for suffix in ("tiff", "xml", "rpb")]
        write_scene(root, GF7, ("NONE", "FWDPAN"), tagged, without=gone, **every)
    return root


def wfv(folder):
    """Write a scene of a wide camera, which has no PAN."""
    root = folder / WFV
    write_tiff(root / f"{WFV}.tiff", _pixels("ms", 4, 16, 16))
    (root / f"{WFV}.xml").write_text(xml_text(_beijing(16, 16, 16.0, "GF1", "WFV2", "2017-06-10")))
    return root


def bad_xml_bomb(folder):
    """Write `gf2_dir_old` whose XML nests entities."""
    return gf2_dir_old(folder, doctype=BOMB, tags={"SatelliteID": "&c;"})


def bad_xml_entity(folder, outside):
    """Write `gf2_dir_old` whose XML names the file `outside` as an external entity."""
    return gf2_dir_old(folder, doctype=ENTITY.format(outside.as_uri()), tags={"SatelliteID": "&outside;"})


def bad_tar(folder, hostile, *, kind="tar.gz"):
    """Write `gf2_tar_new` with one more member of the `hostile` kind; returns the archive and the member's name."""
    names = {"parent": "../../outside.tiff", "absolute": "/abs/x.tiff", "device": "device"}
    info = tarfile.TarInfo(names.get(hostile, "x.tiff"))
    info.type = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}.get(hostile, b"0")
    info.linkname = "../../x" if hostile in {"link", "hard link"} else ""
    return gf2_tar_new(folder, kind=kind, extra=[(info, b"")]), info.name


def bad_empty_tar(folder, *, kind="tar.gz"):
    """Write an archive without a byte."""
    path = folder / f"{GF2_NEW}.{kind}"
    path.touch()
    return path


_AXES = ("Latitude", "Longitude")
_CORNERS = (("TopLeft", 1, -1), ("TopRight", 1, 1), ("BottomRight", -1, 1), ("BottomLeft", -1, -1))
_OLD_CLOCK = {"Receive": "40:09", "Start": "39:57", "Center": "40:00", "End": "40:03"}


def _place(lat, lon):
    return {"CenterLatitude": lat, "CenterLongitude": lon}


def _changed(tags, changes):
    return {key: value for key, value in {**tags, **changes}.items() if value is not None}


def _beijing(n_row, n_col, gsd, satellite, sensor, date, **changes):
    tags = new_tags(n_row, n_col, gsd, SatelliteID=satellite, SensorID=sensor, AbsCeof=None, SolarZenith=22.2)
    times = {f"{part}Time": f"{date} 11:05:00" for part in _OLD_CLOCK}
    corners = {f"{name}{axis}": None for name, _, _ in _CORNERS for axis in _AXES}
    return _changed({**tags, **corners, **times, **_place(39.9, 116.5)}, changes)


def _pixels(_kind, n_band, n_row, n_col):
    return formula(n_band, n_row, n_col, modulus=1000)


def _pack(scene, path, kind, inside, extra):
    files = {f"{inside}/{file.name}" if inside else file.name: file for file in sorted(scene.iterdir())}
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in files.items():
                archive.write(file, name)
        return
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        for name, file in files.items():
            archive.add(file, name)
        for info, content in extra:
            archive.addfile(info, io.BytesIO(content))
