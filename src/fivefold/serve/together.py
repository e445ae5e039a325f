"""Small requests of rows in JSON: answered from memory, those that wait at the same time in one pass over the networks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fivefold.config import JobNumbers
from fivefold.dataset import IndependentItems, open_data
from fivefold.errors import FivefoldError
from fivefold.jobs.detect import USUAL_RATE, detect_together, surprise_together
from fivefold.jobs.impute import NOTHING_MISSING, can_impute_together, impute_together
from fivefold.modality import Dataset
from fivefold.serve.answers import Answer, dumped, rows_of
from fivefold.serve.forms import JSON
from fivefold.serve.runner import Task
from fivefold.verbs.opened import said

_MOST_ROWS = 64  # of one request
_OPTIONS = {"detect": {"false_alarm_rate"}, "impute": {"interval", "free"}, "surprise": set[str]()}
Parts = dict[str, pa.Table]


@dataclass(frozen=True)
class SmallTask:
    """A task of few rows in memory.

    Attributes
    ----------
    task
    dataset : its rows
    """

    task: Task
    dataset: Dataset

    @classmethod
    def of(cls, task: Task) -> SmallTask | None:
        """The task as a small one, if it is; raises `FivefoldError` for data or options that can't be."""
        verb, data, model = task.verb.name, task.body.data, task.served.model
        small = isinstance(data, pa.Table) and data.num_rows <= _MOST_ROWS and task.form == JSON and task.part is None
        if not small or verb not in _OPTIONS or task.body.files or task.options.keys() - _OPTIONS[verb]:
            return None
        dataset = open_data(data, model.schema)
        if not isinstance(dataset, IndependentItems) or (verb == "impute" and not can_impute_together(model.fitted)):
            return None
        task.count(dataset)
        numbers = {name: value for name, value in task.options.items() if name != "free"}
        JobNumbers(**numbers)
        model.modality.refuse(verb, free=task.options.get("free"))
        return cls(task, dataset)

    @property
    def group(self) -> Hashable:
        """What tasks must have in common to be done in one pass."""
        return id(self.task.served), self.task.verb.name, tuple(sorted(self.task.options.items()))


def run_together(tasks: Sequence[SmallTask]) -> list[Answer | Exception]:
    """The answers of tasks of one group, in one pass; if that fails, each on its own, so that no one fails for another."""
    try:
        return list(_answers(tasks))
    except (FivefoldError, ArithmeticError, ValueError) as error:
        if len(tasks) == 1:
            return [error]
    return [run_together([task])[0] for task in tasks]


def _answers(tasks: Sequence[SmallTask]) -> list[Answer]:
    first, datasets = tasks[0].task, [task.dataset for task in tasks]
    with said() as met:
        results = _run(first, datasets)
    answers = []
    for task, (figures, parts) in zip(tasks, results, strict=True):
        main, *others = ((name, rows_of(table, task.task.body.split)) for name, table in parts.items())
        warned = (*met, *([NOTHING_MISSING] if figures.get("missing") == 0 else []))
        content = {"figures": figures, **({"warnings": warned} if warned else {}), **main[1], **dict(others)}
        about: dict[str, Any] = {"figures": figures, "warnings": warned, "parts": tuple(parts)}
        answers.append(Answer(JSON, dumped(content), name="data.json", items=len(task.dataset), **about))
    return answers


def _run(task: Task, datasets: Sequence[Dataset]) -> list[tuple[dict[str, Any], Parts]]:
    """Of each dataset the figures, and tables by part; like those of the verbs from file to file."""
    model, options = task.served.model.fitted, task.options
    words = task.served.model.modality.settings.WORDS.items
    if task.verb.name == "surprise":
        tables = surprise_together(model, datasets)
        return [({words: len(data)}, {"data": table}) for data, table in zip(datasets, tables, strict=True)]
    if task.verb.name == "impute":
        completed = impute_together(model, datasets, **options)
        return [
            (
                {words: len(data), "missing": found.missing},
                {"data": found.data} | ({} if found.lower is None else {"lower": found.lower, "upper": found.upper}),
            )
            for data, found in zip(datasets, completed, strict=True)
        ]
    rate = options.get("false_alarm_rate", USUAL_RATE)
    detected = []
    for data, found in zip(datasets, detect_together(model, datasets, rate), strict=True):
        columns = {"score": found.score, "p_value": found.p_value, "anomaly": found.anomaly}
        report = pa.concat_tables(data.report(columns)[""])
        figures = {words: len(data), "anomalies": int(found.anomaly.sum()), "false_alarm_rate": rate}
        detected.append(({**figures, "calibrated_on": found.calibrated_on}, {"data": report}))
    return detected
