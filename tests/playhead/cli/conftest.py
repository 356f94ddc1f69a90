"""Fixtures of the command-line tests: a clean environment, and a scripted API."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment without settings: tests must not see those of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("PLAYHEAD_", "TEMPORAL_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


@pytest.fixture
def api(own_environment: None, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """An API with scripted responses; the command line finds it by `PLAYHEAD_API_URL`."""
    monkeypatch.setenv("PLAYHEAD_API_URL", httpserver.url_for("").rstrip("/"))
    yield httpserver
    httpserver.check_assertions()
