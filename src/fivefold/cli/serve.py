"""`serve`: models behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivefold.cli.app import app
from fivefold.errors import UsageError

_Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL…", help="Model folders; NAME=FOLDER to call one otherwise.", show_default=False),
]


@app.command()
def serve(
    models: _Models,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys, one per line, of which requests must bring one.")
    ] = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Let everybody ask who reaches the address, not this machine alone.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web pages elsewhere that may ask, such as https://a.example."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Load models anew when their folders change.")] = False,
    max_body: Annotated[int, typer.Option(metavar="MB", min=1, help="Of a request.")] = 64,
    max_items: Annotated[int, typer.Option(min=1, help="Images, rows or steps of a request.")] = 1_000_000,
    max_elements: Annotated[int, typer.Option(min=1, help="Numbers and classes in them.")] = 50_000_000,
    max_seconds: Annotated[float, typer.Option(help="That a request may wait and take.")] = 60.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait, in each process.")] = 64,
) -> None:
    """Offer models over HTTP, and as a page; SIGHUP loads changed ones anew, SIGTERM ends once all is answered."""
    try:
        from fivefold.serve.settings import Limits, Settings, is_loopback, named_models, read_keys
        from fivefold.serve.supervisor import Supervisor, listen, url_of
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fivefold"):
            raise
        raise UsageError("serving models needs an extra: pip install fivefold[serve]") from None
    keys = () if key_file is None else read_keys(key_file)
    if not is_loopback(host) and not keys and not no_keys:
        raise UsageError(f"--host {host} is open to others: give --key-file, or --no-keys if everybody may ask")
    limits = Limits(max_body << 20, max_items, max_elements, max_seconds, max_queue)
    origins = tuple(allow_origin or ())
    settings = Settings(named_models(models), host, port, keys, no_keys, origins, workers, watch, limits)
    from fivefold.storage import read

    for path in settings.models.values():
        read(path)
    listening = listen(host, port)
    url = url_of(listening)
    Supervisor(settings, listening).run(lambda: print(url, flush=True))
