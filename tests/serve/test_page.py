"""The page, in a real browser, with one small model per modality."""

from __future__ import annotations

import os
import re
import shutil
from hashlib import sha256

import make
import pytest

from fivefold.serve.settings import Settings

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
VIEWS = {
    "images": ["model", "item", "latent", "file"],
    "tables": ["model", "row", "table", "file"],
    "series": ["model", "series", "file"],
}
EVERY_VIEW = [(name, view) for name, views in VIEWS.items() for view in views]
LOST = "Failed to load resource"  # Chromium's word for refusals, which a test may be after


@pytest.fixture(scope="module")
def browser():
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """A function that opens a view; in the end nothing may have been complained of."""
    contexts, complaints = [], []

    def open_view(path: str = "", base: str = address, **settings):
        context = browser.new_context(**settings)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{base}/#{path}")
        page.locator(".content").locator("> *").first.wait_for()
        page.wait_for_load_state("networkidle")
        return page

    open_view.complaints = complaints
    yield open_view
    for context in contexts:
        context.close()
    assert not complaints


def _bring(page, name: str, content: bytes, kind: str = "text/csv"):
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def _button(page, name: str):
    return page.get_by_role("button", name=name, exact=True)


def _drag(page, canvas, *places: tuple[float, float]):
    box = canvas.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


@pytest.mark.parametrize(("name", "view"), EVERY_VIEW)
def test_views_fit_on_a_phone_in_the_dark_and_name_what_they_have(name, view, opened):
    page = opened(f"{name}/{view}", viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#models a").all_inner_texts() == list(VIEWS)
    assert page.locator("#models a[aria-current]").inner_text() == name
    unlabelled = "[...document.querySelectorAll('input, select')].filter((one) => !one.labels.length).length"
    assert page.evaluate(unlabelled) == 0
    if view == "model":
        page.get_by_text("Model card").click()
        assert "# A Fivefold model" in page.locator("details pre").first.inner_text()
        assert page.locator(".chart").get_attribute("aria-label").startswith("Negative ELBO in nats by epoch")
    assert page.get_by_text("Show the code").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "view"), EVERY_VIEW)
def test_views_are_accessible(name, view, scheme, opened, files):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = opened(f"{name}/{view}", color_scheme=scheme)
    if view in ("table", "series"):
        _bring(page, *files[name])
        page.locator("table").first.wait_for()
    found = axe.Axe().run(page).response["violations"]
    serious = {
        rule["id"]: [node["html"] for node in rule["nodes"]]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
    assert not serious


def test_the_first_view_is_small_and_quick(opened):
    page = opened("images/model")
    sizes = "performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0)"
    assert page.evaluate(sizes) < 300_000
    fresh = opened("images/model")
    ended = "Math.max(...performance.getEntriesByType('resource').map((one) => one.responseEnd))"
    assert fresh.evaluate(ended) < 1000


@pytest.mark.parametrize("name", list(VIEWS))
def test_a_file_gives_results_to_look_at_and_to_download(name, opened, files, client, tmp_path):
    page = opened(f"{name}/file")
    _bring(page, *files[name])
    for job, verb in {"Find anomalies": "detect", "Fill in what is missing": "impute"}.items():
        page.get_by_label("Job").select_option(label=job)
        _button(page, "Do it").click()
        page.locator(".figures").wait_for()
        page.get_by_role("status").get_by_text("Done.").wait_for()
        with page.expect_download() as download:
            _button(page, "Download the results").click()
        expected = client.post(f"/v1/models/{name}/{verb}", files={"data": files[name]}).content
        download.value.save_as(tmp_path / "results")
        assert (tmp_path / "results").read_bytes() == expected


@pytest.mark.parametrize("name", list(VIEWS))
def test_new_items_are_made(name, opened, client, tmp_path):
    page = opened(f"{name}/file")
    assert _button(page, "Do it").is_disabled()
    page.get_by_label("Job").select_option(label="Make new ones")
    page.get_by_label("How many").fill("3")
    _button(page, "Do it").click()
    page.locator(".figures").wait_for()
    with page.expect_download() as download:
        _button(page, "Download the results").click()
    download.value.save_as(tmp_path / "new")
    sharp = "&sharp=true" if name == "images" else ""
    assert (tmp_path / "new").read_bytes() == client.post(f"/v1/models/{name}/generate?n=3&seed=0{sharp}").content


def test_one_item_turns_into_another(opened, files):
    page = opened("images/file")
    _bring(page, *files["images"])
    page.get_by_label("Job").select_option(label="Go from one to another")
    page.get_by_label("Steps").fill("5")
    _button(page, "Do it").click()
    page.locator(".figures").wait_for()
    assert page.locator(".results canvas").count() == 5


def test_errors_are_said(opened):
    page = opened("tables/file")
    _bring(page, "bad.csv", b"a,b\n1,2\n")
    _button(page, "Do it").click()
    page.get_by_role("status").get_by_text("column").wait_for()
    assert all(LOST in text for text in opened.complaints)
    opened.complaints.clear()


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_a_row_shows_what_is_strange_and_what_may_be(opened, models):
    page = opened("tables/row")
    page.get_by_label("height", exact=True).fill("99")
    page.locator(".cell.strange").filter(has_text="height").wait_for()
    page.get_by_text("Show the code").click()
    python = page.locator(".code code").first.inner_text().replace('load("tables")', f"load({str(models['tables'])!r})")
    names: dict = {}
    exec(python, names)  # what is shown runs, and has what is shown
    assert f"p = {names['found'].p_value[0]:.3g} " in page.locator(".verdict").inner_text()
    assert names["excess"].to_pylist()[0]["height"] > 3
    _button(page, "Clear height").click()
    page.locator(".histogram").wait_for()
    assert re.fullmatch(r"expected \S+, 90 % in \S+ – \S+", page.locator(".cell figcaption").inner_text())
    _button(page, "Clear kind").focus()
    page.keyboard.press("Enter")
    page.locator(".share").first.wait_for()
    assert page.locator(".histogram").count() == 1
    _button(page, "Clear all").click()
    page.get_by_text("A row of nothing is not strange.").wait_for()
    assert page.locator(".histogram").count() == 4


def test_cells_that_are_cleared_meanwhile_wait_for_their_own_answer(opened):
    page = opened("tables/row")
    page.evaluate("document.querySelectorAll('.cell button').forEach((button) => button.click())")
    page.get_by_text("A row of nothing is not strange.").wait_for()
    assert page.locator(".histogram").count() == 4


def test_strange_rows_come_first_and_lead_to_the_form(opened):
    rows = make.rows(40)
    rows.loc[7, ["height", "id"]] = [90.0, "<img src=x onerror=alert(1)>"]
    page = opened("tables/table")
    _bring(page, "rows.csv", rows.to_csv(index=False).encode())
    page.locator("tbody tr").first.wait_for()
    p_values = [float(text) for text in page.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert p_values == sorted(p_values)
    strangest = page.locator("tbody tr").first
    assert "<img src=x onerror=alert(1)>" in strangest.inner_text()  # text stays text
    assert strangest.locator(".hot").count() >= 1
    assert page.locator("td.filled").count() == int(rows[["height", "kind"]].isna().sum().sum())
    page.get_by_label("Show").select_option(label="20 % of them falsely")
    page.get_by_text("rows are strange").wait_for()
    page.get_by_label("Show").select_option(label="all rows")
    _button(page, "Look at row 7").click()
    page.get_by_label("height", exact=True).wait_for()
    assert page.get_by_label("height", exact=True).input_value() == "90"


def test_a_picture_is_erased_and_filled_in_and_its_noise_removed(opened):
    page = opened("images/item")
    sketch = page.locator("canvas.sketch")
    assert page.locator(".gauge").get_attribute("aria-label").startswith("p-value")
    _drag(page, sketch, (0.3, 0.3), (0.7, 0.6))
    for name in ("Filled in", "Draw 1", "Draw 3", "90 % interval, width", "Surprise"):
        page.get_by_role("img", name=name, exact=True).wait_for()
    page.get_by_label("Noise", exact=True).fill("0.3")
    page.get_by_role("img", name="Noise removed").wait_for()
    _button(page, "Erase nothing").click()
    page.get_by_role("img", name="Draw 1", exact=True).wait_for(state="hidden")
    sketch.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.get_by_role("img", name="Draw 1", exact=True).wait_for()


def test_a_dropped_picture_is_taken(opened, files):
    page = opened("images/item")
    before = page.locator("canvas.sketch").evaluate("(canvas) => canvas.toDataURL()")
    _bring(page, *files["picture"], "image/png")
    changed = "(before) => document.querySelector('canvas.sketch').toDataURL() !== before"
    page.wait_for_function(changed, arg=before)


def test_the_latent_plane_follows_pointer_and_keys(opened):
    page = opened("images/latent")
    plane, about = page.locator("canvas.plane"), page.locator(".studio .hint")
    _drag(page, plane, (0.2, 0.2), (0.75, 0.25))
    page.get_by_text("1.5, unit").wait_for()
    plane.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("1.6, unit").wait_for()
    assert about.inner_text().startswith("unit 1: 1.6, unit 0: 1.5")  # the units that say most
    _button(page, "Zero").click()
    page.get_by_text("unit 1: 0, unit 0: 0").wait_for()


def test_series_have_bands_events_and_continuations(opened, files):
    page = opened("series/series")
    _bring(page, *files["series"])
    plot = page.locator("canvas.plot").first
    plot.wait_for()
    assert page.locator("canvas.plot").count() == 2
    look = lambda: plot.evaluate("(canvas) => canvas.toDataURL()")  # noqa: E731
    views = [look()]
    page.get_by_role("button", name="Look at the event from").first.click()
    views.append(look())
    _button(page, "Zoom out").click()
    views.append(look())
    _drag(page, plot, (0.3, 0.5), (0.6, 0.5))
    views.append(look())
    plot.focus()
    page.keyboard.press("ArrowRight")
    views.append(look())
    plot.hover()
    page.mouse.wheel(0, -100)
    views.append(look())
    assert len(set(views)) == len(views)
    page.mouse.move(0, 0)
    _button(page, "All").click()
    assert look() == views[0]
    page.get_by_label("Series", exact=True).select_option(label="south")
    assert look() != views[0]


def test_a_key_is_asked_for(browser, models, running):
    key = "a-key-of-some-length"
    with running(Settings(models, keys=(sha256(key.encode()).digest(),))) as base:
        page = browser.new_page()
        page.goto(base)
        page.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Figures").wait_for()
        page.close()
