"""The environment of the demo's services, without the settings of another stack."""

from pathlib import Path

import pytest

from playhead.demo.stack import DemoFiles, environment_of
from playhead.temporal.dev_server import ServerAddresses

USER_ENVIRONMENT = {
    "PATH": "/bin",
    "OPENAI_API_KEY": "secret",
    "PLAYHEAD_BUILD_ID": "release-7",
    "PLAYHEAD_DATABASE_URL": "postgresql://production/playhead",
    "PLAYHEAD_PRICES": '{"openai:gpt-5-mini": {"input": "1", "output": "2"}}',
    "TEMPORAL_ADDRESS": "temporal.example:7233",
    "TEMPORAL_TLS": "true",
}


@pytest.fixture
def files(tmp_path: Path) -> DemoFiles:
    return DemoFiles(tmp_path)


def environment(files: DemoFiles, model: str) -> dict[str, str]:
    return environment_of(USER_ENVIRONMENT, files, ServerAddresses(files.folder, 1, 2), 3, model)


def test_settings_of_another_stack_stay_out(files: DemoFiles) -> None:
    chosen = environment(files, "openai:gpt-5-mini")
    assert chosen["PLAYHEAD_DATABASE_URL"] == f"sqlite:///{files.folder}/playhead.db"
    assert chosen["TEMPORAL_ADDRESS"] == "127.0.0.1:1"
    assert chosen["PLAYHEAD_API_PORT"] == "3"
    assert not {"PLAYHEAD_BUILD_ID", "TEMPORAL_TLS"} & chosen.keys()
    assert chosen["OPENAI_API_KEY"] == "secret"


def test_a_real_model_keeps_the_persons_prices_and_is_not_slowed_down(files: DemoFiles) -> None:
    chosen = environment(files, "openai:gpt-5-mini")
    assert chosen["PLAYHEAD_PRICES"] == USER_ENVIRONMENT["PLAYHEAD_PRICES"]
    assert "PLAYHEAD_DEMO_DELAY_SECONDS" not in chosen


def test_only_the_demo_model_gets_notional_prices(files: DemoFiles) -> None:
    chosen = environment(files, "demo")
    assert "demo:scripted" in chosen["PLAYHEAD_PRICES"]
    assert float(chosen["PLAYHEAD_DEMO_DELAY_SECONDS"]) > 0


def test_logs_survive_a_failure_and_nothing_else_does(files: DemoFiles) -> None:
    (files.folder / "data").mkdir()
    (files.folder / "playhead.db").touch()
    files.log_file("api").write_text("last words")
    assert [path.name for path in files.keep_logs().iterdir()] == ["api.log"]
