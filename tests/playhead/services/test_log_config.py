"""Log lines: one format for all loggers, with context and without private data."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[3]
SCRIPT = """
import logging, sys, warnings
import structlog
from playhead.services.log_config import configure_logging

configure_logging(sys.argv[1], "info")
with structlog.contextvars.bound_contextvars(session_id="ses_1"):
    structlog.get_logger("playhead.worker").info("hello", turns=2)
    activity = {"activity_type": "generate_step", "attempt": 3, "workflow_id": "session-ses_1", "input": "private"}
    logging.getLogger("temporalio.activity").warning("failed %s", "once", extra={"temporal_activity": activity})
logging.getLogger("sqlalchemy.engine").info("SELECT 1")
structlog.get_logger("playhead.worker").debug("details")
warnings.warn("careful")

def fail():
    secret = "phk_hunter2"
    raise ValueError("broken")

try:
    fail()
except ValueError:
    structlog.get_logger("playhead.worker").exception("bang")
"""


def written(form: str) -> list[str]:
    """The lines that the script logs."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, form],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "", "logs belong on standard error; standard output is for results"
    return ended.stderr.splitlines()


def test_machines_get_one_json_object_a_line() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in written("json")]
    hello, failed, careful, bang = lines
    assert (hello["event"], hello["turns"], hello["session_id"]) == ("hello", 2, "ses_1")
    assert hello["timestamp"].endswith("Z")
    assert (failed["event"], failed["level"], failed["session_id"]) == ("failed once", "warning", "ses_1")
    assert (failed["activity"], failed["attempt"], failed["workflow"]) == ("generate_step", 3, "session-ses_1")
    assert "careful" in careful["event"]
    assert bang["exception"][0]["exc_value"] == "broken"


def test_neither_inputs_of_activities_nor_local_variables_are_logged() -> None:
    for form in ("json", "console"):
        text = "\n".join(written(form)).replace('secret = "phk_hunter2"', "")
        assert "private" not in text
        assert "hunter2" not in text


def test_people_get_plain_lines_and_tracebacks() -> None:
    lines = written("console")
    assert "hello" in lines[0]
    assert "session_id=ses_1" in lines[0]
    assert lines[-1] == "    ValueError: broken"
    assert not any("SELECT" in line or "details" in line for line in lines)


FORGING_SCRIPT = """
import logging, sys
import structlog
from playhead.services.log_config import configure_logging

configure_logging(sys.argv[1], "info")
forged = "x\\n2026-01-01T00:00:00Z [info     ] forged\\r\\n\\x1b[2J\\x9b31m\\u202e"
log = structlog.get_logger("playhead.worker")
log.warning(forged, reason=forged, details={"reply": [forged]}, **{forged: 1})
logging.getLogger("temporalio.activity").warning("failed: %s", forged, extra={"temporal_activity": {"attempt": forged}})
try:
    raise ValueError(forged)
except ValueError:
    log.exception("bang")
    logging.getLogger("activities.llm").exception("the call failed: %s", forged)
"""


def test_no_text_forges_a_line_or_steers_the_terminal() -> None:
    for form in ("json", "console"):
        ended = subprocess.run(
            [sys.executable, "-c", FORGING_SCRIPT, form], cwd=CHECKOUT, capture_output=True, check=True
        )
        text = ended.stderr.decode()
        assert "forged" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), form
        lines = text.splitlines()
        assert not any(line.startswith("2026-01-01") for line in lines), form
        if form == "json":
            assert len([json.loads(line) for line in lines]) == 4
        else:
            assert len([line for line in lines if not line.startswith("    ")]) == 4
