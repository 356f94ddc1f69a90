"""Logging: one stream of structured lines on standard error, for people or for machines."""

import logging
import sys
from io import StringIO
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from playhead.output.plain_text import one_line, terminal_stream

LIBRARY_LEVELS = {
    "alembic": "warning",
    "asyncio": "warning",
    "httpcore": "warning",
    "httpcore2": "warning",
    "httpx": "warning",
    "httpx2": "warning",
    "openai": "warning",
    "sqlalchemy": "warning",
    "uvicorn": "warning",
}
"""Lowest level of libraries that log too much at `info`."""

TEMPORAL_FIELDS = {
    "temporal_activity": {"activity_type": "activity", "attempt": "attempt", "workflow_id": "workflow"},
    "temporal_workflow": {"workflow_id": "workflow", "run_id": "run"},
}
"""Fields kept of the dictionaries that the Temporal SDK attaches to its log records, with their names in our lines."""


def configure_logging(form: Literal["console", "json"], level: str) -> None:
    """Send the log lines of Playhead and of its libraries to standard error, in one format."""
    minimum = getattr(logging, level.upper())
    enriching: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    foreign: list[Processor] = [
        *enriching,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow=list(TEMPORAL_FIELDS)),
        _flatten_temporal_fields,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *enriching,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=foreign,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)],
    )
    handler = logging.StreamHandler(terminal_stream(sys.stderr))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(minimum)
    for name, level_name in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(minimum, getattr(logging, level_name.upper())))
    logging.captureWarnings(True)


def _rendering(form: Literal["console", "json"]) -> list[Processor]:
    """The renderers of a line. Tracebacks never show local variables, which hold messages and keys."""
    if form == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(default=str),
        ]
    return [
        _one_line_values,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=_indented_traceback
        ),
    ]


def _one_line_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Write every text on one line: text of users, models and providers can neither forge a line nor control a
    terminal. Tracebacks have lines of their own, which are indented.
    """
    return {one_line(name): _plain_value(name, value) for name, value in event.items()}


def _plain_value(name: str, value: object) -> object:
    if name == "exc_info" or value is None or isinstance(value, bool | int | float):
        return value
    if name in ("exception", "stack"):
        return _indented(str(value))
    return one_line(value if isinstance(value, str) else repr(value))


def _indented_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    written = StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    out.write(_indented(written.getvalue()))


def _indented(text: str) -> str:
    return "\n".join(f"    {one_line(line)}" for line in text.split("\n"))


def _flatten_temporal_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for attached, kept in TEMPORAL_FIELDS.items():
        details = event.pop(attached, None)
        if isinstance(details, dict):
            event.update({name: details[field] for field, name in kept.items() if field in details})
    return event
