"""The page's pictures in docs/serve.md: `python tools/screenshots.py DIGITS`, where DIGITS is a model of MNIST.

It fits two small models, of penguins and of a made-up meter, and needs Chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from palmerpenguins import load_penguins
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import fivefold

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = {"width": 1000, "height": 640}
COLOURS = 64  # that a picture keeps


def meter(days: int, seed: int) -> pd.DataFrame:
    """Hourly use of electricity, with a gap and an evening that is strange."""
    rng, hours = np.random.default_rng(seed), np.arange(24 * days)
    morning, evening = (np.exp(-(((hours % 24) - at) ** 2) / 8) for at in (7, 19))
    use = 0.4 + 0.5 * morning + (1.1 + 0.3 * ((hours // 24) % 7 > 4)) * evening
    use *= np.exp(rng.normal(0, 0.12, len(hours)))
    return pd.DataFrame({"time": pd.date_range("2026-01-05", periods=len(hours), freq="h"), "use": use.round(3)})


@contextmanager
def served(folder: Path, digits: Path) -> Iterator[str]:
    """The address of a server of the three models."""
    penguins, use = folder / "penguins", folder / "meter"
    fivefold.save(fivefold.fit(load_penguins().drop(columns="year")), penguins)
    fivefold.save(fivefold.fit(meter(120, 0), time="time"), use)
    words = [f"digits={digits}", f"penguins={penguins}", f"meter={use}", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fivefold", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def picture(page: Page) -> None:
    """A digit with a part erased and filled in."""
    box = page.locator("canvas.sketch").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.62)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.72, steps=12)
    page.mouse.up()
    page.get_by_role("img", name="Draw 3").wait_for()


def row(page: Page) -> None:
    """A penguin with a strange cell and one that is missing."""
    page.get_by_label("bill_length_mm", exact=True).fill("21")
    page.get_by_role("button", name="Clear body_mass_g").click()
    page.locator(".histogram").wait_for()


def line(page: Page) -> None:
    """Two weeks of the meter."""
    steps = meter(14, 7)
    steps.loc[100:112, "use"] = np.nan
    steps.loc[235:240, "use"] = 3.5
    page.get_by_label("Steps to go on").fill("48")
    content = {"name": "meter.csv", "mimeType": "text/csv", "buffer": steps.to_csv(index=False).encode()}
    page.locator("input[type=file]").set_input_files(content)
    page.locator("canvas.plot").wait_for()
    page.get_by_role("heading", name="Events").scroll_into_view_if_needed()
    page.get_by_role("status").get_by_text("Done.").wait_for(state="hidden")


VIEWS = {"digits/item": picture, "digits/latent": lambda page: None, "penguins/row": row, "meter/series": line}


def main() -> None:
    """Take them all."""
    digits, chromium = Path(sys.argv[1]), shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), digits) as address,
        sync_playwright() as playwright,
    ):
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        for view, act in VIEWS.items():
            page = browser.new_page(viewport=SIZE)
            page.goto(f"{address}/#{view}")
            page.locator(".content > *").first.wait_for()
            page.wait_for_load_state("networkidle")
            act(page)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1500)
            path = IMAGES / f"page-{view.rpartition('/')[2]}.png"
            page.screenshot(path=path)
            with Image.open(path) as taken:
                small = taken.convert("RGB").quantize(COLOURS)
            small.save(path, optimize=True)
            page.close()


if __name__ == "__main__":
    main()
