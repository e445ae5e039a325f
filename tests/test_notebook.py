"""What models and results show in notebooks."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

import fivefold
from fivefold.notebook import table

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with")


class Cells(HTMLParser):
    """Texts by the tags that they stand in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert not attributes
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1], []).append(data)


def test_a_model_shows_its_figures(table_model):
    cells = Cells(table_model._repr_html_()).texts["td"]
    assert {"items", "latent numbers", "negative ELBO, held-out", "weights"} <= set(cells)
    assert table_model.schema.describe() in cells


def test_a_model_without_a_record_shows_what_it_is_of(untrained):
    assert untrained.schema.describe() in Cells(untrained._repr_html_()).texts["td"]


def test_nothing_is_markup(table_model):
    bad = "<script>alert('&')</script>"
    record = table_model.record | {"relations": [bad]}
    for html in (dataclasses.replace(table_model, record=record)._repr_html_(), table(bad, [(bad, 1)], (bad,))):
        cells = Cells(html).texts
        assert any(bad in text for text in cells["td"])
        assert "script" not in cells


def test_the_strangest_are_shown(table_model, trees):
    found = fivefold.detect(table_model, trees, false_alarm_rate=0.05)
    cells = Cells(found._repr_html_())
    assert cells.texts["caption"] == [
        f"{found.anomaly.sum()} of 400 flagged; compared with {found.calibrated_on} held-out ones"
    ]
    assert cells.texts["td"][0] == str(np.nanargmin(found.score))
    assert len(cells.texts["td"]) >= 15


def test_series_of_all_forms(series_model, waves):
    for data in (waves, [waves[0, :300, None], waves[0, 300:, None]]):
        found = fivefold.detect(series_model, data, false_alarm_rate=0.1)
        assert " of 600 flagged" in found._repr_html_()


def test_other_results(table_model, trees):
    filled = fivefold.impute(table_model, trees, n_draws=2)
    assert Cells(filled._repr_html_()).texts["td"] == [
        "filled in",
        str(filled.missing),
        "draws",
        "2",
        "intervals",
        "no",
    ]
    clean = fivefold.denoise(table_model, trees)
    assert Cells(clean._repr_html_()).texts["td"] == ["replaced", str(clean.changed), "std", "no", "changes", "yes"]
    assert "height" in Cells(fivefold.check(trees)._repr_html_()).texts["td"]
