"""Jobs on a Ray cluster of this machine: `make test-engines`, as starting it and its workers takes half a minute."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fivefold
from fivefold.errors import DataError, UsageError
from fivefold.verbs import shards

pytestmark = [
    pytest.mark.skipif("FIVEFOLD_ENGINES" not in os.environ, reason="takes half a minute: make test-engines"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture(scope="module")
def ray():
    """A cluster of two processors."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        how = {"include_dashboard": False, "object_store_memory": 100 << 20, "log_to_driver": False}
        ray.init("local", num_cpus=2, logging_level="error", **how)
        import_module("fivefold.ray")
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def folder(table_model, trees, tmp_path_factory) -> Path:
    """The model of trees as `model`, and these in `rows/0.parquet` to `rows/3.parquet`."""
    folder = tmp_path_factory.mktemp("ray")
    fivefold.save(table_model, folder / "model")
    (folder / "rows").mkdir()
    for number in range(4):
        trees[100 * number : 100 * number + 100].to_parquet(folder / f"rows/{number}.parquet", index=False)
    return folder


def same_files(one: Path, other: Path) -> bool:
    contents = [{path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} for root in (one, other)]
    return contents[0] == contents[1] != {}


def mortal(function, mark: Path):
    """The function, whose process is killed when it is first called; sent by value."""

    def call(*arguments):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        return function(*arguments)

    return call


def test_files_are_those_of_processes_here_though_a_worker_is_killed(ray, folder, tmp_path, monkeypatch):
    words = folder / "model", str(folder / "rows/*.parquet"), "detect"
    monkeypatch.setattr(shards, "_one", mortal(shards._one, tmp_path / "killed"))
    done = fivefold.ray.map(*words, output=tmp_path / "ray", workers=2, fdr=0.9)
    monkeypatch.undo()
    found = shards.Shards(folder / "rows", tuple(sorted((folder / "rows").iterdir())))
    known = shards.run("detect", folder / "model", found, tmp_path / "here", fdr=0.9)
    assert (tmp_path / "killed").exists()
    assert {**done, "output": None} == {**known, "output": None}
    assert done["anomalies"] > 0
    assert same_files(tmp_path / "ray", tmp_path / "here")


def test_a_file_that_does_not_fit_is_named(ray, folder, tmp_path):
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"other": [1]}), tmp_path / "rows/0.parquet")
    with pytest.raises(DataError, match=r"^[^\n]*0.parquet[^\n]*$"):
        fivefold.ray.map(folder / "model", tmp_path / "rows", "compress", output=tmp_path / "out", verify=False)


def test_a_dataset_in_order_though_a_worker_is_killed(ray, folder, table_model, trees, tmp_path, monkeypatch):
    monkeypatch.setattr(fivefold.ray._Actor, "__call__", mortal(fivefold.ray._Actor.__call__, tmp_path / "killed"))
    ray.cloudpickle.register_pickle_by_value(fivefold.ray)  # with the change
    rows = ray.data.read_parquet(str(folder / "rows"))
    how = {"workers": 1, "ordered": True, "keep": pa.schema([("id", pa.string())])}
    found = fivefold.ray.map(folder / "model", rows, "detect", fdr=0.9, **how).to_pandas()
    ray.cloudpickle.unregister_pickle_by_value(fivefold.ray)
    known = fivefold.detect(table_model, trees, fdr=0.9)
    assert (tmp_path / "killed").exists()
    assert list(found["id"]) == list(trees["id"])
    np.testing.assert_array_equal(found["p_value"], known.p_value)
    np.testing.assert_array_equal(found["anomaly"], known.anomaly)
    assert known.anomaly.any()


def test_new_rows_do_not_depend_on_how_many(ray, folder):
    part = fivefold.ray._PART
    few, more = (fivefold.ray.map(folder / "model", n, "generate", ordered=True).to_pandas() for n in (50, part + 40))
    assert (len(few), len(more)) == (50, part + 40)
    pd.testing.assert_frame_equal(few, more[:50])
    assert not more[:40].equals(more[part:].reset_index(drop=True))


@pytest.mark.parametrize(
    ("data", "job", "options", "says"),
    [
        ("rows", "detect", {}, "`output` must be given"),
        (10, "generate", {"output": "out"}, "`output` must be given"),
        ("rows", "encode", {"output": "out", "fdr": 0.1}, "`fdr` goes with detect"),
        ("rows/0.parquet", "detect", {"output": "out"}, "`data` must be a dataset, a pattern"),
        ("rows", "detect", {"output": "out", "workers": 0}, "`workers`"),
        (0, "generate", {}, "`n`"),
        (5, "generate", {"sharp": True}, "`sharp`"),
    ],
)
def test_refusals(ray, folder, monkeypatch, data, job, options, says):
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=says):
        fivefold.ray.map("model", data, job, **options)


SETTINGS = {"epochs": 4, "folds": 1, "verdicts": False}


def held_out(model) -> list[float]:
    return [row["validation_negative_elbo"] for row in model.record["history"]]


def test_two_workers_fit_alike_though_one_is_killed(ray, trees, table_settings, tmp_path, monkeypatch):
    """By the same steps as without; and about as well as one process."""
    settings = table_settings | SETTINGS
    rows = ray.data.from_pandas(trees[:300])
    known = fivefold.ray.fit(rows, tmp_path / "known", **settings)
    together, mark = fivefold.ray._fit_together, tmp_path / "killed"

    def mortal_fit(given):
        from fivefold.training import trainer

        class Keeper(trainer._Keeper):
            def __call__(self, module):
                super().__call__(module)
                if module.epoch == 2 and not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), 9)

        trainer._Keeper = Keeper
        together(given)

    monkeypatch.setattr(fivefold.ray, "_fit_together", mortal_fit)
    found = fivefold.ray.fit(rows, tmp_path / "found", **settings)
    assert mark.exists()
    assert held_out(found) == held_out(known)
    np.testing.assert_array_equal(fivefold.encode(found, trees)[0], fivefold.encode(known, trees)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found", "killed", "known"]
    alone = fivefold.fit(trees[:300], **settings)
    np.testing.assert_allclose(min(held_out(found)), min(held_out(alone)), rtol=0.03)


def test_what_a_fit_refuses_is_said_in_a_line(ray, tmp_path):
    with pytest.raises(DataError, match=r"^[^\n]*$"):
        fivefold.ray.fit(ray.data.from_items([{"a": 1.0}]), tmp_path / "model", workers=1)
    assert not any(tmp_path.glob("model*"))
    with pytest.raises(UsageError, match="`max_minutes`"):
        fivefold.ray.fit(tmp_path, tmp_path / "model", max_minutes=1)
