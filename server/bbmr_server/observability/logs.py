"""Logs on standard error, one line a record, as text or as JSON. They never hold a body or a key.

A client cannot forge a line: text quotes values that are not plain words, JSON is ASCII. Only the traceback of an
unexpected error has several lines as text, which are indented; in JSON it is a field.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, Literal

events = logging.getLogger("bbmr_server")
access = logging.getLogger("bbmr_server.access")
_LEVELS = {"bbmr_server": logging.INFO, "uvicorn": logging.WARNING, "opentelemetry": logging.WARNING}


_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII but space, quotes, = and backslash


class _Text(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _printable(record.message)
        fields: dict[str, object] = getattr(record, "fields", {})
        return super().formatMessage(record) + "".join(f" {key}={_word(fields[key])}" for key in fields)

    def formatException(self, ei: Any) -> str:
        return "\n".join("    " + _printable(line) for line in super().formatException(ei).split("\n"))


class _Json(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}Z"
        line: dict[str, object] = {
            "time": stamp,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _word(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def configure(form: Literal["text", "json"]) -> None:
    """Log this package's records, and warnings of uvicorn and OpenTelemetry, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
