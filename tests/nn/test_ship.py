from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ship_geo.errors import ArgumentError
from ship_geo.nn import Ship, ShipConfig
from ship_geo.nn.ship import convolve_circularly

SMALL = ShipConfig(n_band=4, n_feature=4, n_stage=2, n_order=3, n_growth=4)


@pytest.fixture(scope="module")
def network() -> Ship:
    torch.manual_seed(5)
    return Ship(SMALL).eval()


def random_pair(rows: int = 16, cols: int = 12, n_band: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, n_band, rows, cols, generator=generator), torch.rand(2, 1, rows, cols, generator=generator)


def test_default_network_has_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in Ship().parameters() if parameter.requires_grad) == 547_509


@pytest.mark.parametrize(("rows", "cols"), [(16, 16), (15, 13), (9, 20), (2, 3)])
def test_output_has_the_bands_and_pixels_of_the_first_stream(network: Ship, rows: int, cols: int) -> None:
    with torch.inference_mode():
        fused = network(*random_pair(rows, cols))
    assert fused.shape == (2, 4, rows, cols)
    assert bool(torch.isfinite(fused).all())


@pytest.mark.parametrize("order", [1, 2, 5])
def test_every_order_can_be_built_and_run(order: int) -> None:
    network = Ship(ShipConfig(n_feature=4, n_stage=1, n_order=order, n_growth=2))
    assert network(*random_pair(6, 7, n_band=1)).shape == (2, 1, 6, 7)


def test_same_input_gives_the_same_bytes(network: Ship) -> None:
    pair = random_pair()
    with torch.inference_mode():
        assert torch.equal(network(*pair), network(*pair))


def test_samples_of_a_batch_do_not_see_each_other(network: Ship) -> None:
    ms_up, pan = random_pair()
    with torch.inference_mode():
        together = network(ms_up, pan)
        alone = network(ms_up[1:], pan[1:])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


def test_forward_writes_no_attribute(network: Ship) -> None:
    def snapshot() -> list[tuple[str, dict[str, int]]]:
        tensors = [(name, {"version": tensor._version}) for name, tensor in network.state_dict().items()]
        modules = [(name, {key: id(value) for key, value in vars(m).items()}) for name, m in network.named_modules()]
        return tensors + modules

    before = snapshot()
    network(*random_pair())
    assert snapshot() == before


def test_every_parameter_takes_part(network: Ship) -> None:
    gradients = torch.autograd.grad(network(*random_pair()).square().sum(), list(network.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_bfloat16_stays_near_float32(network: Ship) -> None:
    pair = random_pair()
    with torch.inference_mode():
        exact = network(*pair)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(*pair)
    assert (rounded.float() - exact).abs().max() < 0.1 * exact.std() + 0.05


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (3, 6)])
def test_circular_convolution_with_a_shifted_impulse_rolls(size: tuple[int, int]) -> None:
    image = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(2))
    impulse = torch.zeros_like(image)
    impulse[..., 1, 2] = 1.0
    torch.testing.assert_close(convolve_circularly(image, impulse), image.roll((1, 2), (-2, -1)), atol=1e-5, rtol=0.0)


def test_circular_convolution_equals_a_double_sum() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 5, 4))
    expected = np.zeros((5, 4))
    for row, col, i, j in np.ndindex(5, 4, 5, 4):
        expected[row, col] += first[i, j] * second[(row - i) % 5, (col - j) % 4]
    product = convolve_circularly(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(product.numpy(), expected, atol=1e-12)


def test_circular_convolution_of_half_precision_is_in_float32() -> None:
    half = torch.ones(1, 1, 4, 4, dtype=torch.bfloat16)
    assert convolve_circularly(half, half).dtype == torch.float32


@pytest.mark.parametrize(
    "change", [{"n_band": 0}, {"n_feature": 6}, {"n_feature": 10**9}, {"n_stage": 0}, {"n_order": 17}, {"n_growth": 3}]
)
def test_illegal_size_is_refused_by_name(change: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(change))} must be .*, got {next(iter(change.values()))}; "):
        ShipConfig(**change)


@pytest.mark.parametrize("value", [4.0, True, "4", None])
def test_size_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="n_stage must be a whole number"):
        ShipConfig(n_stage=value)  # type: ignore[arg-type]


@pytest.mark.real_data
@pytest.mark.parametrize("size", ["128x128", "96x160"])
def test_released_weights_reproduce_the_published_output(data_root: Path, size: str) -> None:
    folder = data_root / "ship_reference"
    if not folder.is_dir():
        pytest.skip(f"the released network is not here: no folder {folder}")
    network = Ship.from_released(folder / "ship_ivif_released.safetensors")
    with np.load(folder / "golden.npz") as golden:
        visible, infrared, expected = (golden[f"{part}_{size}"] for part in ("visible", "infrared", "fused"))
    with torch.inference_mode():
        fused = network(*(torch.from_numpy(image)[None, None] for image in (visible, infrared)))
    assert np.abs(fused[0, 0].numpy() - expected).max() <= 1e-4
