"""Writing the result: blocks in any order become one cloud-optimised GeoTIFF, whole or not at all.

Blocks go to an uncompressed tiled GeoTIFF in a hidden folder beside the target; `GeoTiffWriter.finish` makes the COG of
it, overviews included, and renames that over the target. Whatever fails on the way, the hidden folder goes and an
existing target stays. The scene is never held: memory is GDAL's block cache. Three conventions could surprise. A scene
with a nodata value keeps it, and a valid value that equals it is moved by the least step, and counted. A scene without
one gets an internal mask, and that only if some pixel is invalid. And provenance goes to the default tag domain: GDAL
drops others, or writes them to files beside the output.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises; rasterio.errors does not offer it
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.grids import Grid
from ship_geo.raster import Mask, Values, inspect, is_remote, to_dtype
from ship_geo.scene import Scene

TILE = 512
"""Edge of the tiles of the output, pixels; blocks that start and end at multiples of it are written fastest."""

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache while a writer is open."""

COG_THREADS = 8
"""Threads that compress the COG at most; each takes 25 MB."""

_STALE_SIDECARS = (".aux.xml", ".ovr", ".msk")
_UNKEPT_TAGS = frozenset({"AREA_OR_POINT", "METADATATYPE"})
_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class OutputProfile:
    """What the output looks like.

    Attributes
    ----------
    grid
        Shape, transform and CRS.
    dtype
        NumPy name of the data type.
    descriptions
        One per band, in order; their number is the number of bands.
    nodata
        Value of invalid pixels; None: an internal mask marks them, if there are any.
    colours
        GDAL colour interpretation per band, in lower case; none given: undefined.
    scales, offsets
        How values become physical, per band; none given: 1 and 0.
    tags
        Metadata for the default domain.
    """

    grid: Grid
    dtype: str
    descriptions: tuple[str, ...]
    nodata: float | None = None
    colours: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    @property
    def n_byte(self) -> int:
        """Uncompressed size, bytes."""
        n_row, n_col = self.grid.shape
        return n_row * n_col * self.n_band * np.dtype(self.dtype).itemsize

    @classmethod
    def from_scene(cls, scene: Scene, tags: Mapping[str, str] | None = None) -> OutputProfile:
        """Return the profile of a sharpened scene: the grid of PAN, everything else as MS has it.

        Parameters
        ----------
        scene
            The scene.
        tags
            Provenance to add to the tags of the scene.
        """
        return cls(
            grid=scene.pair.output,
            dtype=scene.ms.dtype,
            descriptions=tuple(text or role for text, role in zip(scene.ms.descriptions, scene.ms.roles, strict=True)),
            nodata=choose_nodata(scene),
            colours=scene.ms.colours,
            scales=scene.ms.scales,
            offsets=scene.ms.offsets,
            tags={**scene.tags, **(tags or {})},
        )


@dataclass(frozen=True)
class WriteRecord:
    """What was written.

    Attributes
    ----------
    path
        The output.
    n_byte
        Its size.
    n_invalid
        Pixels that were passed as invalid.
    n_moved
        Valid values that equalled nodata and were moved by the least step.
    nodata
        Nodata value of the output; None without one.
    """

    path: Path
    n_byte: int
    n_invalid: int
    n_moved: int
    nodata: float | None


def choose_nodata(scene: Scene) -> float | None:
    """Return the nodata value of the output: that of MS, tagged or inferred, or None: a mask tells, where needed."""
    nodata = scene.ms.nodata
    if nodata is None or np.isnan(nodata):
        return nodata
    return nodata if to_dtype(nodata, scene.ms.dtype) is not None else None


def apply_nodata(fused: Values, valid: Mask, nodata: float | None) -> tuple[Values, int]:
    """Mark invalid pixels, and keep valid values apart from the mark.

    Parameters
    ----------
    fused
        (band, row, col), data type of the output.
    valid
        (row, col) of bool.
    nodata
        Mark; None writes 0 (NaN for floats), which only the mask can tell.

    Returns
    -------
    values
        A new array.
    n_moved
        Valid values that equalled the mark: they are moved to the next value towards 0, and a 0 to the least value
        above it.
    """
    values = fused.copy()
    is_float = fused.dtype.kind == "f"
    marker = to_dtype(nodata, fused.dtype)
    if marker is None:
        values[:, ~valid] = np.nan if is_float else 0
        return values, 0
    equal = (values == marker) & valid
    values[equal] = _neighbour(marker, fused.dtype)
    values[:, ~valid] = marker
    return values, int(equal.sum())


def check_output(path: PathLike, *, overwrite: bool = False, inputs: Iterable[str] = (), n_byte: int = 0) -> Path:
    """Check that an output can be written, before any work is done for it.

    Parameters
    ----------
    path
        File to be written, on a local disk.
    overwrite
        Whether an existing file may be replaced.
    inputs
        Files that must never be replaced.
    n_byte
        Room needed beside the target.

    Returns
    -------
    Path
        The target, links resolved.

    Raises
    ------
    OutputError
        When the target exists, is no plain file, or is an input; when its folder is missing or not writable; when the
        disk is too full.
    """
    if is_remote(os.fspath(path)):
        msg = f"the output must be a file on a local disk, got {path}; write it locally and copy it"
        raise OutputError(msg)
    target = Path(path).resolve()
    for source in inputs:
        if not is_remote(source) and _is_same_file(Path(source), target):
            msg = f"the output must not be one of the inputs, got {path} for both; choose another name"
            raise OutputError(msg)
    if target.is_dir():
        msg = f"the output must be a file, got the folder {path}; add a file name"
        raise OutputError(msg)
    if target.exists() and not target.is_file():
        msg = f"the output must be a plain file, got the device or pipe {path}; choose another name"
        raise OutputError(msg)
    if target.exists() and not overwrite:
        msg = f"the output must not exist, got {path}; choose another name or allow to overwrite it"
        raise OutputError(msg)
    folder = target.parent
    if not folder.is_dir():
        msg = f"the folder of the output must exist, got {folder}; make it first"
        raise OutputError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"the folder of the output must be writable, got {folder}; change its permissions or choose another"
        raise OutputError(msg)
    free = shutil.disk_usage(folder).free
    if free < n_byte:
        raise OutputError(_disk_full(folder, n_byte, free))
    return target


class GeoTiffWriter:
    """Writes one GeoTIFF by blocks, from any thread; nothing is at the target before `finish`.

    Use it as a context: leaving it without `finish`, for whatever reason, removes everything that was written.

    Parameters
    ----------
    path
        Target.
    profile
        What the output looks like.
    overwrite
        Whether an existing file may be replaced, at the very end.
    inputs
        Files that must never be replaced.

    Raises
    ------
    OutputError
        When entering the context: see `check_output`.

    Examples
    --------
    >>> with GeoTiffWriter("fused.tif", profile) as writer:  # doctest: +SKIP
    ...     writer.write(block, 0, 0, valid)
    ...     record = writer.finish()
    """

    def __init__(
        self, path: PathLike, profile: OutputProfile, *, overwrite: bool = False, inputs: Iterable[str] = ()
    ) -> None:
        self.path = Path(path)
        self.profile = profile
        self.overwrite = overwrite
        self.inputs = tuple(inputs)
        self._lock = threading.Lock()
        self._target = self.path
        self._folder: Path | None = None
        self._options = ExitStack()
        self._raster: Any = None
        self._mask: Any = None
        self._n_written = self._n_invalid = self._n_moved = 0

    def __enter__(self) -> Self:
        needed = self._n_staged
        self._target = check_output(self.path, overwrite=self.overwrite, inputs=self.inputs, n_byte=needed)
        with ExitStack() as options:
            options.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
            self._stage(needed)
            self._options = options.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()
        self._options.close()

    def write(self, block: Values, row: int, col: int, valid: Mask | None = None) -> None:
        """Write a block whose upper-left pixel is (row, col) of the output; every pixel is to be written once.

        Parameters
        ----------
        block
            (band, row, col), data type of the output.
        row, col
            Where it goes.
        valid
            (row, col) of bool; invalid pixels get nodata and valid ones are kept apart from it, see `apply_nodata`.
            None: the block is written as it is, all pixels valid where a mask must tell.

        Raises
        ------
        ArgumentError
            When the block has another band count or data type, or reaches over the edge of the output.
        OutputError
            When it cannot be written.
        """
        self._check_block(block, row, col, valid)
        values, n_moved = (block, 0) if valid is None else apply_nodata(block, valid, self.profile.nodata)
        window = Window(col, row, block.shape[2], block.shape[1])
        with self._lock, self._failures(self._n_staged):
            self._raster.write(values, window=window)
            if self._mask is not None:
                self._mask.write(_mask_bytes(block, valid), 1, window=window)
            self._n_written += block[0].size
            self._n_invalid += 0 if valid is None else int((~valid).sum())
            self._n_moved += n_moved

    def finish(self) -> WriteRecord:
        """Make the COG, put it at the target, and return what was written.

        Raises
        ------
        ArgumentError
            When some pixels were not written, or some twice.
        OutputError
            When it cannot be written.
        """
        folder = self._staging
        n_row, n_col = self.profile.grid.shape
        if self._n_written != n_row * n_col:
            msg = (
                f"every pixel must be written once, got {self._n_written} of {n_row * n_col}; write the missing blocks"
            )
            raise ArgumentError(msg)
        with self._lock, self._failures(self._n_staged + self.profile.n_byte * 4 // 3):  # overviews add a third
            self._close()
            if self._mask is not None and not self._n_invalid:
                _mask_path(folder).unlink()
            made = folder / "cog.tif"
            _copy_to_cog(folder / "staged.tif", made)
            self._check(made)
            had_target = self._target.exists()
            _move(made, self._target, overwrite=self.overwrite)
        if had_target:
            _remove_sidecars(self._target)
        self._discard()
        size = self._target.stat().st_size
        return WriteRecord(self.path, size, self._n_invalid, self._n_moved, self.profile.nodata)

    @property
    def _staging(self) -> Path:
        if self._folder is None:
            msg = f"a writer must be used inside its context and until it is finished, got {self.path}; use `with`"
            raise ArgumentError(msg)
        return self._folder

    @property
    def _n_staged(self) -> int:
        # The mask has one byte a pixel; the COG comes on top, but how far it compresses nobody knows.
        n_row, n_col = self.profile.grid.shape
        return self.profile.n_byte + (n_row * n_col if self.profile.nodata is None else 0)

    def _stage(self, needed: int) -> None:
        with self._failures(needed):
            prefix = f".{self._target.name}.part-"
            self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self._target.parent))
            try:
                self._open()
            except BaseException:
                self._discard()
                raise

    def _open(self) -> None:
        profile = self.profile
        n_row, n_col = profile.grid.shape
        base = {
            "driver": "GTiff",
            "height": n_row,
            "width": n_col,
            "transform": profile.grid.transform,
            "crs": profile.grid.crs,
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "BIGTIFF": "IF_SAFER",
        }
        staged = self._staging / "staged.tif"
        is_rgb = profile.colours[:3] == _RGB
        # Without these GDAL takes the fourth band of bytes for an alpha band.
        colour = {"photometric": "RGB" if is_rgb else "MINISBLACK", "ALPHA": "NO"}
        extra = {"count": profile.n_band, "dtype": profile.dtype, "nodata": profile.nodata}
        self._raster = rasterio.open(staged, "w", **base, **extra, **colour)
        self._describe()
        if profile.nodata is None:
            # GDAL takes a file of this name and tag for the mask; dropped before the copy if all is valid.
            self._mask = rasterio.open(_mask_path(self._staging), "w", **base, count=1, dtype="uint8")
            self._mask.update_tags(INTERNAL_MASK_FLAGS_1="2")

    def _describe(self) -> None:
        profile, raster = self.profile, self._raster
        for number, text in enumerate(profile.descriptions, start=1):
            raster.set_band_description(number, text)
        if profile.colours:
            raster.colorinterp = [_colour(name) for name in profile.colours]
        if set(profile.scales) - {1.0} or set(profile.offsets) - {0.0}:
            raster.scales = profile.scales or (1.0,) * profile.n_band
            raster.offsets = profile.offsets or (0.0,) * profile.n_band
        raster.update_tags(**{key: value for key, value in profile.tags.items() if key not in _UNKEPT_TAGS})

    def _check_block(self, block: Values, row: int, col: int, valid: Mask | None) -> None:
        _ = self._staging  # open
        n_row, n_col = self.profile.grid.shape
        fits = (
            block.ndim == len(("band", "row", "col"))
            and block.shape[0] == self.profile.n_band
            and block.dtype == np.dtype(self.profile.dtype)
            and 0 <= row <= row + block.shape[1] <= n_row
            and 0 <= col <= col + block.shape[2] <= n_col
            and (valid is None or valid.shape == block.shape[1:])
        )
        if not fits:
            mask = "" if valid is None else f" with mask {valid.shape}"
            msg = (
                f"a block must be {self.profile.dtype} with {self.profile.n_band} bands inside {(n_row, n_col)} and "
                f"fit its mask, got {block.dtype} {block.shape} at {(row, col)}{mask}; cut it to the output"
            )
            raise ArgumentError(msg)

    def _check(self, made: Path) -> None:
        # A full disk may show only when buffers are flushed, and GDAL merely logs that.
        info = inspect(made)
        if info.grid.shape != self.profile.grid.shape or info.n_band != self.profile.n_band:
            msg = f"the output must be complete, got {info.n_band} bands of {info.grid.shape}; write it again"
            raise OutputError(msg)

    def _close(self) -> None:
        for dataset in (self._raster, self._mask):
            if dataset is not None:
                dataset.close()
        inspect(self._staging / "staged.tif")

    def _discard(self) -> None:
        folder, self._folder = self._folder, None
        if folder is None:
            return
        for dataset in (self._raster, self._mask):
            if dataset is not None:
                _close_quietly(dataset)
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _failures(self, n_needed: int) -> Iterator[None]:
        """Turn what GDAL and the system raise into one error that tells how much room there is."""
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
                yield
        except (RasterioError, CPLE_BaseError, ProductError, OSError) as error:
            folder = self._target.parent
            room = shutil.disk_usage(folder).free + _size_of(self._folder)
            if room < n_needed:
                raise OutputError(_disk_full(folder, n_needed, room)) from error
            msg = f"the output must be writable, got {error} for {self.path}; check the disk and its permissions"
            raise OutputError(msg) from error


def _copy_to_cog(staged: Path, made: Path) -> None:
    rasterio.shutil.copy(
        staged,
        made,
        driver="COG",
        COMPRESS="DEFLATE",
        PREDICTOR="YES",  # 2 for integers, 3 for floats
        BLOCKSIZE=str(TILE),
        BIGTIFF="IF_SAFER",
        OVERVIEWS="IGNORE_EXISTING",
        OVERVIEW_RESAMPLING="AVERAGE",
        NUM_THREADS=str(min(COG_THREADS, os.cpu_count() or 1)),
    )


def _move(made: Path, target: Path, *, overwrite: bool) -> None:
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    if overwrite:
        made.replace(target)
    else:
        _move_if_free(made, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the new name may be lost with the power
    finally:
        os.close(folder)


def _move_if_free(made: Path, target: Path) -> None:
    """Give a file its name unless something has taken it since the output was checked."""
    try:
        os.link(made, target)  # in one step, unlike a look and a rename
    except OSError as error:
        if target.exists():
            msg = f"the output must not exist, got {target}, made while this job ran; choose another name"
            raise OutputError(msg) from error
        made.replace(target)  # a file system without hard links


def _remove_sidecars(target: Path) -> None:
    # They described the file that was replaced, and GDAL would apply them to the new one.
    for suffix in _STALE_SIDECARS:
        target.with_name(target.name + suffix).unlink(missing_ok=True)


def _mask_path(folder: Path) -> Path:
    return folder / "staged.tif.msk"


def _mask_bytes(block: Values, valid: Mask | None) -> Values:
    shape = block.shape[1:]
    return np.full(shape, 255, np.uint8) if valid is None else np.where(valid, 255, 0).astype(np.uint8)


def _neighbour(marker: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        # The least normal number: a subnormal one may be flushed to the 0 that it must differ from.
        return np.finfo(dtype).tiny if marker == 0 else np.nextafter(marker, dtype.type(0))
    return dtype.type(int(marker) - 1 if marker > 0 else int(marker) + 1)


def _colour(name: str) -> ColorInterp:
    return ColorInterp[name] if name in ColorInterp.__members__ and name != "alpha" else ColorInterp.undefined


def _is_same_file(source: Path, target: Path) -> bool:
    if source.exists() and target.exists():
        return source.samefile(target)
    return source.resolve() == target


def _size_of(folder: Path | None) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder is not None and folder.exists() else 0


def _disk_full(folder: Path, needed: int, free: int) -> str:
    return (
        f"the disk of the output must have room, got {free:,} bytes free of at least {needed:,} needed in {folder}; "
        "free some, or choose another folder"
    )


def _close_quietly(dataset: Any) -> None:
    # The data are thrown away; on a full disk closing fails once more.
    with suppress(RasterioError, CPLE_BaseError, OSError):
        dataset.close()
