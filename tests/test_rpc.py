"""RPC models against a loop in plain Python, GDAL's own transformer, and what must not change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.rpc import RPC as GdalRpc  # noqa: N811 - ours is called Rpc
from rasterio.transform import RPCTransformer

from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.rpc import Rpc


def curved(**changes) -> Rpc:
    """All 80 coefficients are at work; the image is close to a rotated, height-dependent view."""
    rng = np.random.default_rng(7)
    line_num, line_den, sample_num, sample_den = rng.uniform(-1e-3, 1e-3, (4, 20))
    line_num[:4] = 0.002, -0.12, -1.05, 0.03
    sample_num[:4] = -0.003, 1.02, -0.09, -0.04
    line_den[0] = sample_den[0] = 1.0
    values = {
        "line_offset": 250.0, "sample_offset": 310.0, "lat_offset": 41.9, "long_offset": 15.0, "height_offset": 320.0,
        "line_scale": 260.0, "sample_scale": 330.0, "lat_scale": 0.006, "long_scale": 0.009, "height_scale": 500.0,
    }  # fmt: skip
    polynomials = {"line_num": line_num, "line_den": line_den, "sample_num": sample_num, "sample_den": sample_den}
    return Rpc(**{**values, **{name: tuple(map(float, part)) for name, part in polynomials.items()}, **changes})


def linear(**changes) -> Rpc:
    """Rows count southwards from latitude 41.905, columns eastwards from 14.995, whatever the height."""
    line_num, sample_num, one = [0.0] * 20, [0.0] * 20, (1.0,) + (0.0,) * 19
    line_num[2], sample_num[1] = -1.0, 1.0
    values = {
        "line_offset": 31.5, "sample_offset": 47.5, "lat_offset": 41.9, "long_offset": 15.0, "height_offset": 100.0,
        "line_scale": 32.0, "sample_scale": 48.0, "lat_scale": 0.005, "long_scale": 0.005, "height_scale": 500.0,
        "line_num": tuple(line_num), "line_den": one, "sample_num": tuple(sample_num), "sample_den": one,
    }  # fmt: skip
    return Rpc(**{**values, **changes})


def slow_project(rpc: Rpc, lon: float, lat: float, height: float) -> tuple[float, float]:
    """Row and column as the standard writes them, term by term."""
    x = (lon - rpc.long_offset) / rpc.long_scale
    y = (lat - rpc.lat_offset) / rpc.lat_scale
    z = (height - rpc.height_offset) / rpc.height_scale
    powers = "1 L P H LP LH PH LL PP HH PLH LLL LPP LHH LLP PPP PHH LLH PPH HHH"

    def polynomial(coefficients: tuple[float, ...]) -> float:
        total = 0.0
        for coefficient, name in zip(coefficients, powers.split(), strict=True):
            term = coefficient
            for letter in name:
                term *= {"1": 1.0, "L": x, "P": y, "H": z}[letter]
            total += term
        return total

    row = polynomial(rpc.line_num) / polynomial(rpc.line_den) * rpc.line_scale + rpc.line_offset
    col = polynomial(rpc.sample_num) / polynomial(rpc.sample_den) * rpc.sample_scale + rpc.sample_offset
    return row + 0.5, col + 0.5


def ground(n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.uniform((14.99, 41.894, -180.0), (15.01, 41.906, 820.0), (n, 3)).T


def test_project_equals_the_standard_written_out():
    lon, lat, height = ground()
    row, col = curved().project(lon, lat, height)
    slow = np.array([slow_project(curved(), *point) for point in zip(lon, lat, height, strict=True)])
    np.testing.assert_allclose(np.stack([row, col], 1), slow, rtol=0, atol=1e-9)


def test_an_offset_is_the_centre_of_a_pixel():
    row, col = linear(line_offset=32.0).project(15.0, 41.9, 0.0)
    assert (float(row), float(col)) == (32.5, 48.0)


def test_gdal_agrees_to_a_ten_thousandth_of_a_pixel():
    rpc = curved()
    tags = rpc.to_tags()
    numbers = {key.lower(): float(text) for key, text in tags.items() if not key.endswith("COEFF")}
    lists = {key.lower(): [float(word) for word in text.split()] for key, text in tags.items() if key.endswith("COEFF")}
    lon, lat, height = ground(15)
    with RPCTransformer(GdalRpc(**numbers, **lists)) as transformer:
        # rasterio counts from pixel edges and rounds down unless it is told not to
        rows, cols = transformer.rowcol(lon, lat, height, op=float)
    row, col = rpc.project(lon, lat, height)
    np.testing.assert_allclose(row, rows, rtol=0, atol=1e-4)
    np.testing.assert_allclose(col, cols, rtol=0, atol=1e-4)


@given(row=st.floats(-50, 570), col=st.floats(-50, 690), height=st.floats(-180, 820))
def test_locate_undoes_project(row, col, height):
    lon, lat = curved().locate(row, col, height)
    there = curved().project(lon, lat, height)
    np.testing.assert_allclose(there, (row, col), rtol=0, atol=1e-6)


def test_arguments_broadcast():
    rpc = curved()
    lon, lat = rpc.locate(np.arange(3.0)[:, None], np.arange(4.0), 100.0)
    assert lon.shape == lat.shape == (3, 4)
    assert rpc.project(lon, lat, np.zeros((5, 1, 1)))[0].shape == (5, 3, 4)


def test_locate_gives_nan_where_the_model_means_nothing():
    line_num = [0.0] * 20
    line_num[14], line_num[7], line_num[0] = 1.0, 1.0, 1.0  # 1 + LL + LLP: never negative near the image
    lon, lat = linear(line_num=tuple(line_num)).locate([10.0, np.nan], 20.0, 100.0)
    assert np.isnan(lat).all()
    assert np.isnan(lon).all()


def test_an_image_across_the_180th_meridian():
    rpc = linear(long_offset=179.999)
    assert float(rpc.project(-179.999, 41.9, 0.0)[1]) == pytest.approx(48.0 + 48.0 * 0.4)
    lon, _ = rpc.locate(32.0, 96.0, 0.0)
    assert float(lon) == pytest.approx(180.004)


@given(
    row0=st.integers(-100, 40000),
    col0=st.integers(-100, 40000),
    ratio=st.tuples(st.floats(0.2, 9.0), st.floats(0.2, 9.0)),
)
def test_crop_and_scale_keep_the_ground_point(row0, col0, ratio):
    rpc = curved()
    lon, lat, height = ground(8)
    row, col = rpc.project(lon, lat, height)
    crop = rpc.shifted(row0, col0).project(lon, lat, height)
    np.testing.assert_allclose(crop, (row - row0, col - col0), rtol=0, atol=1e-6)
    coarse = rpc.scaled(ratio).project(lon, lat, height)
    np.testing.assert_allclose(coarse, (row / ratio[0], col / ratio[1]), rtol=0, atol=1e-6)


def test_scaling_follows_the_centres_of_pixels():
    """A PAN offset of 240 and pixels four times larger: (240 + 0.5) / 4 - 0.5."""
    coarse = linear(line_offset=240.0, line_scale=240.0).scaled((4.0, 4.0))
    assert (coarse.line_offset, coarse.line_scale) == (59.625, 60.0)


@pytest.mark.parametrize("ratio", [(0.0, 1.0), (1.0, -2.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_a_ratio_must_be_positive(ratio):
    with pytest.raises(ArgumentError, match="ratio of pixel sizes must be positive"):
        curved().scaled(ratio)


# --- text forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", [{}, {"err_bias": 1.25, "err_rand": 0.1}])
def test_tags_and_json_keep_every_digit(errors):
    rpc = curved(**errors)
    assert Rpc.from_tags(rpc.to_tags()) == rpc
    assert Rpc.from_dict(json.loads(json.dumps(rpc.to_dict()))) == rpc


def test_tags_have_the_names_of_gdal():
    tags = curved(err_bias=1.0).to_tags()
    assert tags["LINE_OFF"] == "250.0"
    assert tags["ERR_BIAS"] == "1.0"
    assert "ERR_RAND" not in tags
    assert len(tags["SAMP_DEN_COEFF"].split(" ")) == 20


def test_units_behind_numbers_are_ignored():
    tags = {**linear().to_tags(), "LINE_OFF": "+000031.50 pixels", "HEIGHT_OFF": "+0100.000 meters"}
    assert Rpc.from_tags(tags) == linear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LINE_SCALE": None}, "must have LINE_SCALE, got none in pan.rpb"),
        ({"LINE_SCALE": "wide"}, "must be numbers, got LINE_SCALE 'wide' in pan.rpb"),
        ({"LINE_SCALE": ""}, "must be numbers, got LINE_SCALE '' in pan.rpb"),
        ({"LINE_SCALE": "0"}, "pan.rpb .*line_scale 0"),
        ({"LINE_NUM_COEFF": "1 2 3"}, "pan.rpb .*20 coefficients, got 3 in line_num"),
        ({"SAMP_DEN_COEFF": "nan " * 20}, "pan.rpb .*coefficients of an RPC must be finite"),
    ],
)
def test_damaged_tags_are_refused_by_name(change, message):
    tags = {key: text for key, text in {**linear().to_tags(), **change}.items() if text is not None}
    with pytest.raises(ProductError, match=message):
        Rpc.from_tags(tags, source="pan.rpb")


def test_a_stored_model_of_other_keys_is_refused():
    values = linear().to_dict()
    values["latitude"] = values.pop("lat_offset")
    with pytest.raises(ProductError, match="missing or unknown lat_offset, latitude"):
        Rpc.from_dict(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lat_offset": float("nan")}, "must be finite, got lat_offset nan"),
        ({"err_bias": float("inf")}, "must be finite, got err_bias inf"),
        ({"height_scale": 0.0}, "scale of an RPC must not be zero, got height_scale 0"),
        ({"sample_den": (0.0,) * 20}, "denominator of an RPC must not be zero, got sample_den"),
    ],
)
def test_numbers_that_make_no_model_are_refused(change, message):
    with pytest.raises(GridError, match=message):
        replace(linear(), **change)
