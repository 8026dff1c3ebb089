"""The report in a real Chromium: it moves by mouse, finger and key, shows its JSON, and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser, Page, find_chromium
from judged_scenes import judged_scene

from ship_geo.assessment import Assessment
from ship_geo.report import write_report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on PATH or in $CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as running:
        yield running


@pytest.fixture(scope="module")
def judged() -> Assessment:
    return judged_scene(hole=True)


@pytest.fixture(scope="module")
def path(judged: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(judged, tmp_path_factory.mktemp("report") / "page.html")


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    with browser.open(path) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser, path: Path) -> Iterator[Page]:
    with browser.open(path, 390, 844) as opened:
        yield opened


def divider(page: Page) -> int:
    return int(page.run("document.getElementById('handle').getAttribute('aria-valuenow')"))


def zoom(page: Page) -> int:
    return int(page.run("parseInt(document.getElementById('zoom').textContent)"))


def clip(page: Page) -> float:
    """Share of the picture that the sharpened layer leaves to the other."""
    return float(
        page.run(
            "parseFloat(document.querySelector('[data-layer=fused]').style.clipPath.match(/([\\d.]+)px\\)$/)[1])"
            "/ document.getElementById('stage').clientWidth"
        )
    )


def test_page_asks_for_nothing_and_has_no_error(page: Page) -> None:
    asked = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.url]
    assert page.events("Runtime.exceptionThrown") == []
    assert page.events("Runtime.consoleAPICalled") == []
    assert page.events("Log.entryAdded") == []


def test_text_of_users_is_shown_as_text(page: Page, judged: Assessment) -> None:
    assert page.run("document.getElementById('title').textContent") == judged.scene["name"]
    assert page.run("document.querySelectorAll('#warnings img, h1 b').length") == 0
    assert judged.scene["warnings"][0] in page.run("document.getElementById('warnings').textContent")


def test_policy_stops_requests_and_foreign_scripts(page: Page) -> None:
    blocked = page.run(
        "fetch('data:text/plain,a').then(() => 'asked', () => 'stopped')"  # needs no network to be telling
    )
    assert blocked == "stopped"
    page.run(
        "(() => {const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s)})()"
    )
    assert page.run("window.ran === undefined")


def test_numbers_of_the_table_are_those_of_the_json(page: Page, judged: Assessment) -> None:
    cells = page.run(
        "[...document.querySelectorAll('#metrics td')].map(c => [c.dataset.method, c.dataset.index, c.textContent])"
    )
    totals = judged.record()["totals"]
    assert {(method, index) for method, index, _ in cells} == {
        (method, index) for method in judged.methods for index in judged.indices
    }
    for method, index, text in cells:
        step = 10.0 ** -len(text.partition(".")[2])
        assert float(text) == pytest.approx(totals[method][index], abs=0.501 * step)


def test_best_method_of_a_row_is_marked(page: Page, judged: Assessment) -> None:
    totals = judged.record()["totals"]
    marked = page.run("[...document.querySelectorAll('td.best')].map(c => [c.dataset.index, c.dataset.method])")
    for index, fact in judged.record()["indices"].items():
        pick = max if fact["direction"] == "up" else min
        expected = pick(("fused", "gsa"), key=lambda method: totals[method][index])
        assert [index, expected] in marked
    assert all(method != "exp" for _, method in marked)


def test_worst_tiles_tell_the_values_of_the_json(page: Page, judged: Assessment) -> None:
    texts = page.run("[...document.querySelectorAll('[data-worst]')].map(e => e.textContent)")
    for text, tile in zip(texts, judged.worst_tiles("hqnr", 6), strict=True):
        assert float(text.split()[-1]) == pytest.approx(tile["value"], abs=6e-5)


def test_divider_moves_by_mouse(page: Page) -> None:
    left, top, width, height = page.box("#stage")
    middle = top + height / 2
    page.drag((left + width / 2, middle), (left + width * 0.25, middle))
    assert divider(page) == 25
    assert clip(page) == pytest.approx(0.25, abs=0.01)


def test_divider_moves_by_keyboard(page: Page) -> None:
    page.run("document.getElementById('handle').focus()")
    page.press("ArrowRight")
    assert divider(page) == 52
    page.press("ArrowLeft", shift=True)
    assert divider(page) == 42
    page.press("Home")
    assert (divider(page), clip(page)) == (0, 0)
    page.press("End")
    assert divider(page) == 100
    assert "100 % MS" in page.run("document.getElementById('handle').getAttribute('aria-valuetext')")


def test_divider_moves_by_finger(phone: Page) -> None:
    left, top, width, height = phone.box("#stage")
    middle = top + height / 2
    phone.touch("touchStart", (left + width / 2, middle))
    for share in (0.6, 0.7, 0.8):
        phone.touch("touchMove", (left + width * share, middle))
    phone.touch("touchEnd")
    assert divider(phone) == pytest.approx(80, abs=2)


def test_two_fingers_zoom(phone: Page) -> None:
    left, top, width, height = phone.box("#stage")
    x, y, before = left + width / 2, top + height / 2, zoom(phone)
    phone.touch("touchStart", (x - 90, y), (x - 50, y))
    for far in (40, 60, 80):
        phone.touch("touchMove", (x - 90 - far, y), (x - 50 + far, y))
    phone.touch("touchEnd")
    assert zoom(phone) > 2 * before


def test_focus_is_seen(page: Page) -> None:
    for selector in ("#handle", "#stage", "#tilemap", "[data-zoom=in]", "#map-index", ".scroll"):
        for _ in range(60):
            page.press("Tab")
            if page.run(f"document.activeElement.matches('{selector}')"):
                break
        style = page.run(
            "(() => {const e = document.activeElement, s = getComputedStyle(e);"
            "const k = e.id == 'handle' ? e.querySelector('.knob') : null;"
            "return [s.outlineStyle, k ? getComputedStyle(k).boxShadow : '']})()"
        )
        assert page.run(f"document.activeElement.matches('{selector}')"), selector
        assert style[0] == "solid" or "255, 210, 74" in style[1], selector
        page.run("document.activeElement.blur()")


def test_picture_zooms_and_moves_by_keyboard(page: Page) -> None:
    place = "document.querySelector('[data-layer=fused] img').style.transform"
    before = zoom(page)
    page.run("document.getElementById('stage').focus()")
    page.press("+")
    assert zoom(page) == pytest.approx(1.5 * before, abs=1)
    still = page.run(place)
    page.press("ArrowDown")
    assert page.run(place) != still
    assert page.run(place) == page.run(place.replace("fused", "ms"))
    page.press("0")
    assert zoom(page) == before


def test_wheel_zooms_at_the_pointer_once_the_picture_is_in_use(page: Page) -> None:
    left, top, width, height = page.box("#stage")
    before = zoom(page)
    page.mouse("mouseWheel", left + width / 2, top + 50, deltaX=0, deltaY=-10)
    page.settle()
    assert zoom(page) == before
    page.run("document.getElementById('stage').focus({preventScroll: true})")
    _, top, _, height = page.box("#stage")
    page.mouse("mouseWheel", left + width / 2, top + height / 2, deltaX=0, deltaY=-100)
    page.settle()
    assert zoom(page) > before


def test_tile_map_is_read_by_keyboard_and_leads_to_the_picture(page: Page, judged: Assessment) -> None:
    before = zoom(page)
    page.run("document.getElementById('tilemap').focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    told = page.run("document.getElementById('tile-readout').textContent")
    value = judged.record()["tiles"]["values"]["fused"]["hqnr"][0][1]
    assert "Tile 1, 2 " in told
    assert f"{value:.4f}" in told
    page.press("Enter")
    assert zoom(page) > before
    assert page.run("document.activeElement.id") == "handle"


@pytest.mark.parametrize("method", ["exp", "gsa"])
def test_map_shows_the_chosen_method(page: Page, method: str) -> None:
    shot = "document.querySelector('#tilemap canvas').toDataURL()"
    before = page.run(shot)
    page.run(
        f"(() => {{const s = document.getElementById('map-method'); s.value = '{method}';"
        "s.dispatchEvent(new Event('change'))})()"
    )
    assert page.run(shot) != before


def test_comparison_with_pan(page: Page) -> None:
    page.run("document.querySelector('[data-left=pan]').click()")
    shown = "getComputedStyle(document.querySelector('[data-layer={}]')).display"
    assert page.run(shown.format("pan")) == "block"
    assert page.run(shown.format("ms")) == "none"
    assert page.run("document.getElementById('left-tag').textContent") == "PAN"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, path: Path, width: int) -> None:
    with browser.open(path, width, 844) as page:
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("innerWidth") == width


def test_targets_are_large_enough_for_fingers(phone: Page) -> None:
    sizes = phone.run(
        "[...document.querySelectorAll('.segment button, select, .knob')].map(e => e.getBoundingClientRect())"
        ".filter(b => b.width).map(b => Math.min(b.width, b.height))"
    )
    assert min(sizes) >= 40


def test_paper_shows_three_pictures_and_no_controls(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", media="print")
    page.call("Emulation.setDeviceMetricsOverride", width=700, height=1000, deviceScaleFactor=1, mobile=False)
    page.settle()
    boxes = page.run(
        "['ms', 'pan', 'fused'].map(n => document.querySelector(`[data-layer=${n}] img`).getBoundingClientRect())"
        ".map(b => [Math.round(b.left), Math.round(b.top), Math.round(b.width)])"
    )
    assert len({left for left, _, _ in boxes}) == 3
    assert len({top for _, top, _ in boxes}) == 1
    assert all(width > 200 for _, _, width in boxes)
    for gone in (".toolbar", "#handle", ".link"):
        assert page.run(f"getComputedStyle(document.querySelector('{gone}')).display") == "none"
    assert page.run("document.documentElement.scrollWidth") <= 700
    assert page.pdf().startswith(b"%PDF")


CONTRAST = """(() => {
  const linear = (share) => (share <= .03928 ? share / 12.92 : ((share + .055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => linear(value / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const found = getComputedStyle(element).backgroundColor;
      if (found.startsWith('rgb(')) return found;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = ['.lede', '.eyebrow', '.intro', '.rank', 'th small', '.help', '.notice', 'summary', 'dt', '.link'];
  return texts.map((selector) => {
    const element = document.querySelector(selector);
    const pair = [light(getComputedStyle(element).color), light(behind(element))];
    return [selector, (Math.max(...pair) + .05) / (Math.min(...pair) + .05)];
  });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, path: Path, scheme: str) -> None:
    with browser.open(path, prefers_color_scheme=scheme) as page:
        ratios: dict[str, Any] = dict(page.run(CONTRAST))
        assert min(ratios.values()) >= 4.5, ratios


def test_page_without_pictures_has_no_error(browser: Browser, judged: Assessment, tmp_path: Path) -> None:
    path = write_report(replace(judged, pixels=None), tmp_path / "page.html")
    with browser.open(path) as page:
        assert page.events("Runtime.exceptionThrown") == []
        assert page.run("document.getElementById('picture').hidden")
        assert page.run("document.querySelectorAll('#metrics td').length") == 21
