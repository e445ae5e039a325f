"""Logs as lines of JSON on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

LOGGER = logging.getLogger("fivefold.serve")


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        line |= {"process": record.process, "message": record.getMessage(), **getattr(record, "about", {})}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log(message: str, level: int = logging.INFO, *, failed: bool = False, **about: Any) -> None:
    """One line; with the traceback of the exception that is handled, if it `failed`."""
    LOGGER.log(level, message, extra={"about": about}, exc_info=failed)


def start_logging() -> None:
    """Send our lines and those of the web server to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson())
    for name, level in (("fivefold.serve", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
