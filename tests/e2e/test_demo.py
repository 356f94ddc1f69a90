"""`make demo` as a process: it succeeds, and leaves nothing behind however it ends."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.provider import NoReply, TextReply, model_provider

CHECKOUT = Path(__file__).parents[2]
LIMIT = 120
"""Seconds after which a demo that should have ended counts as stuck; it takes about 20."""
OF_THE_PERSON = ("PLAYHEAD_", "TEMPORAL_", "OPENAI_", "ANTHROPIC_")

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@contextmanager
def running_demo(folder: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """The demo as a process without this one's settings; all its processes have the folder in their environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_PERSON)}
    process = subprocess.Popen(
        [sys.executable, "-m", "playhead.demo"],
        cwd=folder,
        env={**inherited, "TMPDIR": str(folder), "PYTHONPATH": str(CHECKOUT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """The output of the demo up to the line with the text."""
    assert process.stdout
    printed = ""
    for line in process.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(f"the demo ended without printing {text!r}:\n{printed}")


def processes_of(folder: Path) -> dict[int, str]:
    """The processes that a demo in this folder started, by pid."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(folder).encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


@needs_proc
def test_demo_ends_ok_and_leaves_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        printed, _ = demo.communicate(timeout=LIMIT)
    lines = printed.splitlines()
    assert demo.returncode == 0, printed
    assert lines[-1] == "demo: ok, 8 turns, 8 billed, 0 lost, 0 billed twice", printed
    assert "OFFLINE DEMO MODEL" in "\n".join(lines[:8])
    assert "The prices are notional" in printed
    assert re.search(r"kill -9 \d+: the worker is killed in the middle of its reply", printed)
    assert re.search(r"the reply arrived \d+\.\d s after the kill", printed)
    assert "├─╮ discarded" in printed
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@needs_proc
async def test_demo_uses_the_configured_model_and_repeats_only_the_interrupted_call(tmp_path: Path) -> None:
    async with model_provider() as provider:
        model = provider.model("clerk")
        model.script(TextReply("When would you like to come?"), NoReply())
        provider_of = {"PLAYHEAD_MODEL": model.string, "OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "none"}
        with running_demo(tmp_path, **provider_of) as demo:
            printed, _ = await asyncio.to_thread(demo.communicate, timeout=LIMIT)
    assert demo.returncode == 0, printed
    assert printed.splitlines()[-1] == "demo: ok, 8 turns, 8 billed, 0 lost, 0 billed twice", printed
    assert len(model.journal) == 8, "seven messages were answered, and one of them was asked again after the kill"
    assert "DEMO MODEL" not in printed
    assert "notional" not in printed
    assert "no price" in printed


@needs_proc
def test_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        read_until(demo, "The conversation starts")
        demo.send_signal(signal.SIGINT)
        printed, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 130, printed
    assert "demo: interrupted" in printed.splitlines()[-1]
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@needs_proc
def test_demo_whose_api_dies_fails_and_keeps_its_logs(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        read_until(demo, "The conversation starts")
        (api,) = (pid for pid, command in processes_of(tmp_path).items() if command.rstrip().endswith(" api"))
        os.kill(api, signal.SIGKILL)
        printed, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 1, printed
    assert printed.splitlines()[-1] == "demo: failed, api ended by itself with status -9"
    assert processes_of(tmp_path) == {}
    (folder,) = tmp_path.iterdir()
    assert f"The logs are kept in {folder}" in printed
    assert {path.suffix for path in folder.iterdir()} == {".log"}


def test_demo_with_an_invalid_setting_names_it(tmp_path: Path) -> None:
    with running_demo(tmp_path, PLAYHEAD_PRICES="cheap") as demo:
        printed, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 1
    assert printed.splitlines()[-1].startswith("demo: failed, PLAYHEAD_PRICES is set to 'cheap'")
