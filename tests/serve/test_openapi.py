"""What the OpenAPI document says is so, and options are those of the command line."""

from __future__ import annotations

import inspect

import pytest
import typer

from fivefold.cli import archives, jobs
from fivefold.verbs.catalogue import VERBS

NOT_OPTIONS = {"model", "data", "output", "codes", "archive", "force", "json", "workers"}
NOT_OPTIONS |= {"drift", "state"}  # which make another verb of `detect`, that a server does not have
COMMANDS = {
    verb: getattr(archives if verb in ("compress", "decompress") else jobs, verb)
    for verb in VERBS
    if verb != "surprise"
}


def _command_options(command) -> dict[str, object]:
    """Of a command, by parameter: the defaults."""
    found = inspect.signature(command).parameters
    return {name: parameter.default for name, parameter in found.items() if name not in NOT_OPTIONS}


@pytest.mark.parametrize("verb", COMMANDS)
def test_options_are_those_of_the_command_line(verb):
    ours = {option.name: option.default for option in VERBS[verb].options.values()}
    theirs = _command_options(COMMANDS[verb])
    assert ours.keys() == theirs.keys()
    for name, default in theirs.items():
        if default is not inspect.Parameter.empty and default is not None:
            assert ours[name] == default, name


@pytest.mark.parametrize("verb", COMMANDS)
def test_options_are_called_as_there(verb):
    group = typer.main.get_command(__import__("fivefold.cli.app", fromlist=["app"]).app)
    flags = {flag for option in group.commands[verb].params for flag in option.opts}
    for public in VERBS[verb].options:
        assert {f"--{public.replace('_', '-')}", f"-{public}"} & flags, public


def test_the_document_has_all_verbs(client):
    document = client.get("/openapi.json").json()
    for verb in VERBS:
        operation = document["paths"][f"/v1/models/{{name}}/{verb}"]["post"]
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
        options = {option.public for option in VERBS[verb].options.values() if not option.is_file}
        assert named == options | {"part"}
        assert {"200", "401", "413", "422", "429", "503"} <= operation["responses"].keys()


def test_examples_are_taken(client):
    document = client.get("/openapi.json").json()
    content = document["paths"]["/v1/models/{name}/decode"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert client.post("/v1/models/tables/decode", json=example["value"]).status_code == 200
    content = document["paths"]["/v1/models/{name}/impute"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/v1/models/tables/impute", json=content["examples"]["records"]["value"]).status_code == 200
