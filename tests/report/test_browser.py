"""The page in a real browser: silent, contained, usable by keyboard, at night and on a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.test_page import contrast, make
from tests.report.test_studies import build_study

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium and no google-chrome here")

COLOURS = """selector => [...document.querySelectorAll(selector)].map(element => {
    const clear = "rgba(0, 0, 0, 0)";
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === clear) {
        behind = behind.parentElement;
    }
    return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Any]:
    """Open the page in a fresh window; tells whatever it said and asked for."""
    contexts = []

    def visit(**settings: Any) -> tuple[Any, list[str]]:
        context = browser.new_context(**settings)
        contexts.append(context)
        tab, heard = context.new_page(), []
        tab.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("request", lambda request: heard.append(request.url))
        tab.goto(page.as_uri())
        return tab, heard

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_asks_for_itself_alone_and_says_nothing(
    visit: Any, page: Path, scheme: str
) -> None:
    tab, heard = visit(color_scheme=scheme)
    tab.wait_for_load_state("networkidle")
    assert heard == [page.as_uri()]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_never_scrolls_sideways(visit: Any, width: int) -> None:
    tab, _ = visit(viewport={"width": width, "height": 740})
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than the page scrolls in a box of its own, which the keyboard can reach.
    boxes = tab.evaluate("[...document.querySelectorAll('.box')].map(box => box.tabIndex)")
    assert boxes
    assert set(boxes) == {0}


def test_tab_reaches_every_button_and_every_fold(visit: Any) -> None:
    tab, _ = visit(viewport={"width": 1280, "height": 900})
    reached = set()
    for _ in range(120):
        tab.keyboard.press("Tab")
        reached.add(
            tab.evaluate(
                """() => {
                const at = document.activeElement;
                const all = [...document.querySelectorAll("*")];
                const shown = getComputedStyle(at).outlineStyle !== "none";
                return [all.indexOf(at), at.localName, shown || at.className === "skip"].join();
            }"""
            )
        )
    wanted = tab.evaluate(
        """() => {
        const all = [...document.querySelectorAll("*")];
        return all.filter(each => each.matches("thead button, summary") && each.checkVisibility())
            .map(each => [all.indexOf(each), each.localName, true].join());
    }"""
    )
    assert len(wanted) > 12
    assert set(wanted) <= reached


def test_columns_sort_by_keyboard_and_say_so(visit: Any) -> None:
    tab, _ = visit()
    order = "[...document.querySelectorAll('#results table')[0].tBodies].map(b => b.innerText[0])"
    assert "".join(tab.evaluate(order)) == "stABCDEF"
    button = tab.get_by_role("button", name="accuracy, %").first
    head = "document.querySelectorAll('#results thead th')[1]"
    values = "[...document.querySelectorAll('#results table')[0].tBodies].slice(2)"
    values += ".map(body => +body.rows[0].cells[1].dataset.value)"
    before = tab.evaluate(values)
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate(f"{head}.ariaSort") == "descending"
    assert tab.evaluate(values) == sorted(before, reverse=True)
    assert "greatest first" in tab.locator("#sorted").inner_text()
    tab.keyboard.press("Enter")
    assert tab.evaluate(f"{head}.ariaSort") == "ascending"
    assert tab.evaluate(values) == sorted(before)
    assert "".join(tab.evaluate(order))[:2] == "st"


def test_seeds_unfold_below_their_row_without_script(visit: Any) -> None:
    tab, _ = visit(java_script_enabled=False)
    assert tab.locator("#results tr.single:visible").count() == 0
    tab.locator("#results tbody summary").nth(1).click()
    assert tab.locator("#results tr.single:visible").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visit: Any, scheme: str) -> None:
    tab, _ = visit(color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    chosen = "p, a, h1, h2, h3, th, td, small, .value, .key, summary, dt, dd, li, code, mark"
    found = tab.evaluate(COLOURS, f":is({chosen}, .right, .wrong, .not)")
    assert len(found) > 200
    faint = [pair for pair in found if contrast(*map(hexadecimal, pair)) < 4.5]
    assert faint == []
    page = hexadecimal(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (contrast(page, "#000000") > 10) == (scheme == "light")


def test_pictures_turn_dark_with_the_page(visit: Any) -> None:
    tones = []
    for scheme in ("light", "dark"):
        tab, _ = visit(color_scheme=scheme)
        find = "getComputedStyle(document.querySelector('svg.plot text')).fill"
        tones.append(hexadecimal(tab.evaluate(find)))
    assert contrast(tones[0], "#ffffff") >= 4.5
    assert contrast(tones[1], "#191c21") >= 4.5


def hexadecimal(colour: str) -> str:
    parts = colour.removeprefix("rgb(").removesuffix(")").split(",")
    return "#" + "".join(f"{int(part):02x}" for part in parts)


def test_the_picture_of_a_study_is_drawn_and_asks_for_nothing(browser: Any, tmp_path: Path) -> None:
    page = make([build_study(tmp_path / "out").path], tmp_path / "page")
    tab, heard = browser.new_page(), []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("request", lambda request: heard.append(request.url[:40]))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.images[0].naturalWidth") == 1
    assert [each for each in heard if not each.startswith(("file:", "data:"))] == []
    tab.close()
