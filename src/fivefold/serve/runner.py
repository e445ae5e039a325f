"""A request's work on a model: checked against limits, done from file to file, and made an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivefold.archive.write import ArchiveOptions
from fivefold.errors import FivefoldError
from fivefold.modality import Dataset
from fivefold.serve import forms
from fivefold.serve.answers import Answer, answer_of
from fivefold.serve.bodies import Body
from fivefold.serve.folder import Folder
from fivefold.serve.models import ServedModel
from fivefold.serve.settings import Limits
from fivefold.verbs import archives
from fivefold.verbs.catalogue import Verb, call
from fivefold.verbs.opened import OpenModel, said, strictly

_BESIDE = {"std": "std", "report": "changes", "heatmaps": "surprise"}  # roles of files that options ask for


class TooMuchError(FivefoldError):
    """A request asks for more than the server allows."""


@dataclass(frozen=True)
class Task:
    """What is to be done for one request.

    Attributes
    ----------
    served : the model
    verb
    body : what it brought
    options : by parameter; those that name files beside the results are booleans
    form : of the answer
    part : see `answer_of`
    folder : private to the request
    limits
    """

    served: ServedModel
    verb: Verb
    body: Body
    options: Mapping[str, Any]
    form: str
    part: str | None
    folder: Folder
    limits: Limits

    def run(self) -> Answer:
        """Do it. Raises `FivefoldError`."""
        output = self._output()
        options = {**self.options, **self.body.files}
        strict = bool(options.pop("strict", False))
        self._check_asked(options)
        options |= {
            name: self._beside(output, role) for name, role in _BESIDE.items() if options.pop(name, False) is True
        }
        if self.verb.name == "encode" and self.options.get("std"):
            options["std"] = True
        counted = list[int]()
        model = self.served.model.checking(lambda dataset: counted.append(self.count(dataset)))
        with said() as met, strictly(strict):
            figures = self._run(model, output, options)
        answer = answer_of(output, self.form, self.part, self.body.split, figures, tuple(met))
        answer.items = counted[0] if counted else int(figures.get("items", figures.get("rows", 0)))
        return answer

    def _run(self, model: OpenModel, output: Path, options: dict[str, Any]) -> dict[str, Any]:
        if self.verb.name == "decompress":
            with archives.archive_in(Path(self.body.data)) as archive:
                self._check_count(len(archive), 0)
        if self.verb.name == "compress":
            fields = ArchiveOptions.__dataclass_fields__
            reading = {name: value for name, value in options.items() if name not in fields}
            model.open(self.body.data, "compress", {}, **reading)  # to check how much it is
        return call(self.verb, model, self.body.data, output, options)

    def _output(self) -> Path:
        """Where results go: a file or folder of its own folder."""
        folder = self.folder.path / "out"
        folder.mkdir()
        modality = self.served.model.modality
        return folder / f"data{forms.file_ending(self.form, modality, self.verb.gives, self.body.form)}"

    def _beside(self, output: Path, role: str) -> Path:
        ending = forms.beside_ending(output.suffix, self.served.model.modality, role)
        return output.with_name(f"data-{role}{ending}")

    def count(self, dataset: Dataset) -> int:
        """Of how many items it is; raises `TooMuchError`."""
        self._check_count(len(dataset), dataset.elements * (1 + self.options.get("draws", 0)))
        return len(dataset)

    def _check_asked(self, options: Mapping[str, Any]) -> None:
        """How many items are to be made."""
        if self.verb.name in ("generate", "morph"):
            count = options.get("n", 1) * max(options.get("steps") or 1, 1)
            self._check_count(count, count * self.served.model.schema.size)

    def _check_count(self, items: int, elements: int) -> None:
        for what, count, most in (("items", items, self.limits.items), ("elements", elements, self.limits.elements)):
            if count > most:
                raise TooMuchError(f"a request may be of {most:,} {what} at most, got {count:,}")
