"""SHIP++: the skip, the three switches, determinism, and what its Fourier product promises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ship_geo.errors import ArgumentError
from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig, correlate

SIZES = {"n_band": 3, "n_in": 5, "n_guide": 2, "n_feature": 6, "n_order": 3, "n_stage": 2}
SMALL = ShipPlusPlusConfig(**SIZES)  # type: ignore[arg-type]
SWITCHES = ("evolve", "integrate", "memorise")


def random_streams(config: ShipPlusPlusConfig = SMALL, n: int = 2, size: tuple[int, int] = (16, 12)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, channels, *size, generator=generator) for channels in (config.n_in, config.n_guide)]


def opened(config: ShipPlusPlusConfig = SMALL) -> ShipPlusPlus:
    """A network whose last convolutions are no longer zero, as after training."""
    torch.manual_seed(3)
    network = ShipPlusPlus(config).eval()
    for values in network.parameters():
        if not values.any():
            torch.nn.init.normal_(values, std=0.1)
    return network


def without(switch: str) -> ShipPlusPlusConfig:
    return ShipPlusPlusConfig(**{**SIZES, switch: False})  # type: ignore[arg-type]


def test_default_network_has_its_stated_size() -> None:
    assert sum(parameter.numel() for parameter in ShipPlusPlus().parameters()) == 88_864


def test_untrained_network_returns_the_skip_exactly() -> None:
    ms_stream, guide_stream = random_streams()
    with torch.inference_mode():
        fused = ShipPlusPlus(SMALL)(ms_stream, guide_stream)
    assert torch.equal(fused, ms_stream[:, : SMALL.n_band])


@pytest.mark.parametrize("size", [(16, 16), (15, 13), (9, 20), (2, 3)])
def test_output_has_the_bands_of_the_config_and_the_pixels_of_the_streams(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        fused = opened()(*random_streams(size=size))
    assert fused.shape == (2, 3, *size)
    assert bool(torch.isfinite(fused).all())


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_changes_the_parameters(switch: str) -> None:
    def shapes(config: ShipPlusPlusConfig) -> dict[str, torch.Size]:
        return {name: value.shape for name, value in ShipPlusPlus(config).state_dict().items()}

    assert shapes(without(switch)) != shapes(SMALL)
    assert sum(map(math.prod, shapes(without(switch)).values())) < sum(map(math.prod, shapes(SMALL).values()))


@pytest.mark.parametrize("switch", SWITCHES)
def test_network_runs_and_learns_without_a_mechanism(switch: str) -> None:
    network = opened(without(switch))
    network(*random_streams()).square().mean().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None]
    assert not silent


def test_channel_attention_comes_from_attention_or_features_by_the_switch() -> None:
    evolving = opened().stages[0].channel
    renewing = ShipPlusPlus(without("evolve")).stages[0].channel
    renewing.load_state_dict(evolving.state_dict())
    features, guide = (torch.randn(1, 6, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    with torch.inference_mode():
        assert not torch.allclose(evolving(features, guide), renewing(features, guide))


def test_without_integration_only_the_last_order_leaves() -> None:
    spatial = opened(without("integrate")).stages[0].spatial
    features, guide = (torch.randn(1, 6, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    with torch.inference_mode():
        spatial.step[-1].weight.zero_()
        spatial.step[-1].bias.zero_()
        spatial.out.bias.zero_()
        interaction, _ = spatial(features, guide)
    assert not interaction.any()


@pytest.mark.parametrize("config", [SMALL, *map(without, SWITCHES)])
def test_untrained_stage_changes_nothing(config: ShipPlusPlusConfig) -> None:
    features, guide, memory = (torch.randn(1, 6, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1, 2))
    with torch.inference_mode():
        same, _, kept = ShipPlusPlus(config).stages[0](features, guide, memory)
    assert torch.equal(same, features)
    assert torch.equal(kept, memory)


def test_memory_carries_what_a_later_stage_forgets() -> None:
    network = opened()
    streams = random_streams()
    with torch.inference_mode():
        before = network(*streams)
        network.stages[0].memorise.weight.zero_()
        network.stages[0].memorise.bias.zero_()
        assert not torch.allclose(network(*streams), before)


@pytest.mark.parametrize("n_order", [1, 2, 5])
@pytest.mark.parametrize("n_stage", [1, 3])
def test_any_order_and_number_of_stages_can_be_built_and_run(n_order: int, n_stage: int) -> None:
    config = ShipPlusPlusConfig(3, 5, 2, 4, n_order, n_stage)
    assert opened(config)(*random_streams(config)).shape == (2, 3, 16, 12)


def test_infrared_visible_config_fuses_one_channel_with_one() -> None:
    config = ShipPlusPlusConfig.infrared_visible(n_feature=4)
    assert (config.n_band, config.n_in, config.n_guide, config.n_feature) == (1, 1, 1, 4)
    visible, infrared = random_streams(config)
    assert opened(config)(visible, infrared).shape == (2, 1, 16, 12)
    assert torch.equal(ShipPlusPlus(config)(visible, infrared), visible)


@pytest.mark.parametrize("name", ["n_band", "n_in", "n_guide", "n_feature", "n_order", "n_stage"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="network are positive"):
        ShipPlusPlusConfig(**{**SIZES, name: 0})  # type: ignore[arg-type]


def test_stream_without_room_for_the_skip_is_refused() -> None:
    with pytest.raises(ArgumentError, match="n_in >= n_band, got"):
        ShipPlusPlusConfig(n_band=4, n_in=3)


def test_forward_writes_no_attribute() -> None:
    network = opened()
    before = [(name, id(module), dict(vars(module))) for name, module in network.named_modules()]
    network(*random_streams())
    for (_, _, attributes), module in zip(before, network.modules(), strict=True):
        assert vars(module).keys() == attributes.keys()
        assert all(vars(module)[key] is value for key, value in attributes.items())


def test_same_input_gives_the_same_bytes() -> None:
    network, streams = opened(), random_streams()
    with torch.inference_mode():
        assert torch.equal(network(*streams), network(*streams))


def test_sample_does_not_depend_on_its_batch() -> None:
    network, (ms_stream, guide_stream) = opened(), random_streams(n=3)
    with torch.inference_mode():
        together = network(ms_stream, guide_stream)
        alone = torch.cat([network(ms_stream[[i]], guide_stream[[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_memory_format_does_not_matter() -> None:
    network, streams = opened(), random_streams()
    with torch.inference_mode():
        expected = network(*streams)
        last = [stream.contiguous(memory_format=torch.channels_last) for stream in streams]
        torch.testing.assert_close(network.to(memory_format=torch.channels_last)(*last), expected, atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    network = ShipPlusPlus(SMALL)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    target = torch.randn(2, 3, 16, 12)
    for _ in range(3):  # the first step opens the head, which starts at zero
        optimizer.zero_grad()
        (network(*random_streams()) - target).square().mean().backward()
        optimizer.step()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent


def direct_correlation(features: Tensor, guide: Tensor) -> Tensor:
    """Circular cross-correlation of one channel by its definition, divided by the root of the number of pixels."""
    rows, cols = features.shape
    shifted = [
        [(features * guide.roll((row, col), (0, 1))).sum() for col in range(cols)] for row in range(rows)
    ]  # lag (row, col): features against the guide moved by it
    return torch.tensor(shifted) / math.sqrt(rows * cols)


def sine_taper(n: int) -> Tensor:
    return torch.sin(math.pi * torch.arange(1, n + 1, dtype=torch.float64) / (n + 1))


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_correlation_is_the_sum_over_shifts_of_tapered_features(size: tuple[int, int]) -> None:
    features, guide = (
        torch.randn(size, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (0, 1)
    )
    taper = sine_taper(size[0])[:, None] * sine_taper(size[1])
    expected = direct_correlation(features * taper, guide * taper).float()
    got = correlate(features.float()[None, None], guide.float()[None, None])[0, 0]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [16, 48, 128])
def test_scale_of_correlation_does_not_grow_with_the_window(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = (torch.randn(8, 4, n, n, generator=generator) for _ in range(2))
    # independent white noise; a sine taper of n samples has the mean square (n + 1) / 2 n on each axis
    assert float(correlate(*noise).std()) == pytest.approx(((n + 1) / (2 * n)) ** 2, rel=0.05)


def test_correlation_stays_float32_under_autocast() -> None:
    features = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = correlate(features, features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(correlate(features, features), expected)


def test_autocast_changes_the_result_by_rounding_only() -> None:
    network, streams = opened(), random_streams()
    with torch.inference_mode():
        expected = network(*streams)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(*streams)
    assert rounded.dtype == torch.float32
    assert float((rounded - expected).abs().mean()) < 0.05
