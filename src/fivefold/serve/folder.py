"""A folder of one request, which is there only once it is needed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path


class Folder:
    """A private temporary folder; nothing in it is called by anything that a client chose, but for plain names of pictures."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """Where it is; makes it."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="fivefold-"))
        return self._path

    def hidden(self, text: str) -> str:
        """A message that does not say where the folder is."""
        if self._path is None:
            return text
        for place, name in ((f"{self._path}/out/", ""), (f"{self._path}/", ""), (str(self._path), "data")):
            text = text.replace(place, name)
        return text

    async def remove(self) -> None:
        """Delete it, without keeping the event loop."""
        if self._path is not None:
            await asyncio.to_thread(self.remove_now)

    def remove_now(self) -> None:
        """Delete it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
