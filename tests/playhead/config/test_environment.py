"""`.env` files: they add to the environment, and cannot redirect a key to another address."""

import os
from pathlib import Path

import pytest

from playhead.config.environment import apply_env_file
from playhead_client.environment import API_KEY, API_URL


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (API_KEY, API_URL):
        monkeypatch.setenv(name, "")
    return tmp_path / ".env"


def test_address_in_a_folder_is_ignored_when_the_key_comes_from_elsewhere(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(API_KEY, "phk_mine")
    written.write_text(f"{API_URL}=https://evil.example\n")
    apply_env_file(written)
    assert os.environ[API_URL] == ""
    assert "is ignored" in capsys.readouterr().err


def test_address_and_key_of_one_file_are_used(written: Path) -> None:
    written.write_text(f"{API_URL}=https://api.example\n{API_KEY}=phk_theirs\n")
    apply_env_file(written)
    assert (os.environ[API_URL], os.environ[API_KEY]) == ("https://api.example", "phk_theirs")
