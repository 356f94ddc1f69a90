"""Settings: defaults, and error messages for invalid values."""

import os
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest

from api.settings import is_loopback
from contracts.sessions import Timing
from domain.usage import TokenPrice
from playhead.cli import settings
from playhead.config.environment import apply_env_file
from playhead.config.renamed import FORMER_NAMES
from playhead.config.settings import (
    InvalidSettings,
    Settings,
    load_settings,
    setting_warnings,
    variable_names,
    variable_of,
)

PROVIDER_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment without settings: tests must not see those of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("PLAYHEAD_", "TEMPORAL_")) or name in PROVIDER_VARIABLES:
            monkeypatch.delenv(name)


def complaints(**given: object) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(**given)
    return raised.value.lines


def test_without_any_variable_everything_runs_offline_in_one_folder(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.model == "demo"
    assert settings.database_url == f"sqlite:///{tmp_path}/.playhead/playhead.db"
    assert (settings.api_host, settings.api_port, settings.keyless) == ("127.0.0.1", 8080, False)


def test_the_store_follows_the_data_folder() -> None:
    assert load_settings(data_dir="/srv/playhead").database_url == "sqlite:////srv/playhead/playhead.db"


def test_a_provider_key_chooses_its_model_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert load_settings().model == "openai:gpt-5-mini"
    monkeypatch.setenv("PLAYHEAD_MODEL", "openai-chat:qwen3")
    assert load_settings().model == "openai-chat:qwen3"


def test_a_provider_whose_package_is_missing_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setattr("playhead.config.settings.find_spec", lambda package: None)
    assert load_settings().model == "demo"


def test_an_argument_overrides_the_environment_and_none_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLAYHEAD_API_PORT", "9000")
    assert load_settings(api_port=9100).api_port == 9100
    assert load_settings(api_port=None).api_port == 9000


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_BUILD_ID", "")
    monkeypatch.setenv("PLAYHEAD_MODEL", "")
    settings = load_settings()
    assert (settings.build_id, settings.model) == (None, "demo")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PLAYHEAD_API_PORT", "eighty", "PLAYHEAD_API_PORT is set to 'eighty'; it must be a port: a whole number"),
        ("PLAYHEAD_API_PORT", "0", "from 1 to 65535."),
        ("PLAYHEAD_MODEL", "gpt-5", "PLAYHEAD_MODEL is set to 'gpt-5'; it must be `demo`, or a provider and a model"),
        ("PLAYHEAD_LOG_FORMAT", "xml", "it must be console or json."),
        ("PLAYHEAD_REQUEST_TIMEOUT_SECONDS", "nan", "it must be a number of seconds from 0.1 to 3600."),
        ("PLAYHEAD_DEPLOYMENT_NAME", "a.b", "without dots."),
        ("PLAYHEAD_TEMPORAL_UI_URL", "localhost:8233", "it must be a URL such as http://127.0.0.1:8233."),
        ("PLAYHEAD_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "('proxy' is not an address or a network"),
        ("PLAYHEAD_TRUSTED_PROXIES", "10.0.0.1/8", "it must be addresses or networks such as 127.0.0.1,10.0.0.0/8."),
    ],
)
def test_an_invalid_value_is_reported_with_the_value_and_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    (line,) = complaints()
    assert line.startswith(f"{variable} is set to ")
    assert expected in line


def test_all_invalid_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_PORT", "x")
    monkeypatch.setenv("PLAYHEAD_LOG_LEVEL", "loud")
    assert [line.split()[0] for line in complaints()] == ["PLAYHEAD_API_PORT", "PLAYHEAD_LOG_LEVEL"]


def test_a_value_that_may_hold_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", "mysql://anna:hunter2@db/x")
    (line,) = complaints()
    assert line.startswith("PLAYHEAD_DATABASE_URL is set to a value that is not shown here; it must be a URL such as")
    assert "hunter2" not in line


def test_prices_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_PRICES", '{"openai-chat:mine": {"input": 0.1, "output": "0.4", "cache_read": 0.01}}')
    price = TokenPrice(input=Decimal("0.1"), output=Decimal("0.4"), cache_read=Decimal("0.01"))
    assert load_settings().prices == {"openai-chat:mine": price}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{", "not JSON"),
        ('{"a:b": {"input": "1"}}', "a:b.output, field required"),
        ('{"a:b": {"input": "1", "output": "1", "cached": "1"}}', "a:b: there is no price called cached"),
        ('{"a:b": {"input": "-1", "output": "1"}}', "a:b.input"),
        ('["a"]', "it must be JSON such as"),
    ],
)
def test_wrong_prices_are_explained(monkeypatch: pytest.MonkeyPatch, value: str, problem: str) -> None:
    monkeypatch.setenv("PLAYHEAD_PRICES", value)
    (line,) = complaints()
    assert line.startswith("PLAYHEAD_PRICES is set to ")
    assert problem in line


def test_the_environment_cannot_open_the_api_to_calls_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_KEYLESS", "true")
    assert load_settings().keyless is False


def test_calls_without_keys_are_for_this_machine_only() -> None:
    (line,) = complaints(keyless=True, api_host="0.0.0.0")
    assert "calls without a key are accepted from this machine only" in line
    assert load_settings(keyless=True, api_host="::1").keyless


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("db", False)],
)
def test_loopback_addresses_are_recognised(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_a_webhook_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_WEBHOOK_URL", "https://example.com/hook")
    with pytest.raises(InvalidSettings, match="PLAYHEAD_WEBHOOK_URL is set, but not PLAYHEAD_WEBHOOK_SECRET"):
        load_settings()
    monkeypatch.setenv("PLAYHEAD_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert load_settings().webhook_url == "https://example.com/hook"


def test_an_invalid_webhook_secret_is_explained_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_WEBHOOK_SECRET", "hunter2")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert "it must be whsec_ and 24 to 64 random bytes in Base64" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    assert load_settings().api().trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_a_retry_maximum_below_the_initial_pause_is_refused() -> None:
    (line,) = complaints(model_retry_initial_seconds=10, model_retry_maximum_seconds=5)
    assert "PLAYHEAD_MODEL_RETRY_MAXIMUM_SECONDS is 5, less than" in line


def test_an_unknown_setting_is_warned_about_with_the_nearest_name() -> None:
    known = {"PLAYHEAD_MODEL": "x", "PLAYHEAD_API_KEY": "x", "PLAYHEAD_PORT": "x", "PATH": "x"}
    assert setting_warnings(known) == []
    (line,) = setting_warnings({"PLAYHEAD_MODLE": "demo"})
    assert line == "PLAYHEAD_MODLE is not a setting and is ignored; did you mean PLAYHEAD_MODEL?"
    (line,) = setting_warnings({"PLAYHEAD_XYZZY": "1"})
    assert line.endswith("`playhead settings` lists all settings.")


@pytest.mark.parametrize(("field", "former"), FORMER_NAMES.items())
def test_the_former_name_of_a_setting_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, field: str, former: str
) -> None:
    old, new = f"PLAYHEAD_{former}", variable_of(field)
    value = "10.1.0.0/16" if field == "egress_allowlist" else "1024"
    value = "5" if field.endswith("_seconds") else value
    expected = load_settings(**{field: value})
    assert expected != load_settings()

    monkeypatch.setenv(old, value)
    assert load_settings() == expected
    assert setting_warnings() == [
        f"{old} has been renamed to {new}; the old name will no longer be read from version 1.0."
    ]


@pytest.mark.parametrize(("field", "former"), FORMER_NAMES.items())
def test_the_new_name_of_a_setting_wins_over_the_former_one(
    monkeypatch: pytest.MonkeyPatch, field: str, former: str
) -> None:
    old, new = f"PLAYHEAD_{former}", variable_of(field)
    defaults = load_settings()
    default = getattr(defaults, field)
    monkeypatch.setenv(new, "crm.internal" if field == "egress_allowlist" else f"{default:g}")
    monkeypatch.setenv(old, "never read")
    expected = ("crm.internal",) if field == "egress_allowlist" else default
    assert getattr(load_settings(), field) == expected
    assert setting_warnings() == [f"{old} is ignored, because {new}, its new name, is set as well; remove {old}."]


def test_an_empty_former_name_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_TOOL_ADDRESSES", "")
    assert load_settings().egress_allowlist == ()
    assert setting_warnings() == []


def test_an_invalid_value_is_reported_under_the_name_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_WAIT_SECONDS", "nan")
    assert complaints() == ("PLAYHEAD_WAIT_SECONDS is set to 'nan'; it must be a number of seconds from 0.1 to 3600.",)


def test_a_setting_under_its_former_name_is_listed_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_WAIT_SECONDS", "5")
    row = next(row for row in settings.rows(load_settings()) if row.variable == "PLAYHEAD_REQUEST_TIMEOUT_SECONDS")
    assert (row.value, row.is_set) == ("5", True)


def test_an_env_file_sets_only_variables_that_are_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PLAYHEAD_API_PORT=9001\nOPENAI_API_KEY=sk-file\nPLAYHEAD_MODEL=\n")
    environment = {"PLAYHEAD_API_PORT": "9002"}
    monkeypatch.setattr(os, "environ", environment)
    apply_env_file()
    assert environment == {"PLAYHEAD_API_PORT": "9002", "OPENAI_API_KEY": "sk-file"}


def test_the_timing_of_sessions_comes_from_the_settings() -> None:
    timing = load_settings(
        model_timeout_seconds=7,
        model_heartbeat_timeout_seconds=3,
        model_retry_initial_seconds=0.1,
        model_retry_maximum_seconds=0.2,
        settlement_delay_seconds=0.05,
    ).timing()
    figures = (timing.model_timeout, timing.heartbeat, timing.retry_initial, timing.retry_maximum, timing.settle_within)
    assert figures == (7, 3, 0.1, 0.2, 0.05)


def test_the_defaults_of_settings_and_of_the_durable_timing_agree() -> None:
    timing = load_settings().timing()
    assert timing.settle_unattended_within == load_settings().unattended_settlement_delay_seconds
    as_ever = timing.model_copy(update={"settle_unattended_within": None})
    assert as_ever == Timing(), "say the same in contracts/sessions.py and playhead/config/settings.py"


def test_settings_are_immutable() -> None:
    settings = load_settings()
    for name in type(settings).model_fields:
        with pytest.raises(ValueError, match="frozen"):
            setattr(settings, name, getattr(settings, name))


def test_every_setting_says_what_it_means_and_what_it_expects() -> None:
    documented = list(settings.rows(None))
    assert [row.variable for row in documented] == variable_names()
    undocumented = [row.variable for row in documented if not (row.means.endswith(".") and row.expects)]
    assert not undocumented, f"describe these where they are declared: {undocumented}"


def test_the_documentation_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = settings.markdown()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PLAYHEAD_API_PORT", "9000")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert settings.markdown() == here
    assert all(f"| `{name}` |" in here for name in variable_names())


def test_credentials_are_those_of_everyone_or_of_one_organization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_CREDENTIALS", '{"CRM_KEY": "everyones"}')
    monkeypatch.setenv("PLAYHEAD_ORGANIZATION_CREDENTIALS", '{"fiorella": {"CRM_KEY": "own"}}')
    settings = load_settings()
    assert settings.credentials == {"CRM_KEY": "everyones"}
    assert settings.organization_credentials == {"fiorella": {"CRM_KEY": "own"}}


@pytest.mark.parametrize("written", ['{"fiorella": "s3cret"}', '{"fiorella": {"KEY": ["s3cret"]}}', '{"KEY": "s3cret'])
def test_malformed_credentials_are_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("PLAYHEAD_ORGANIZATION_CREDENTIALS", written)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert "PLAYHEAD_ORGANIZATION_CREDENTIALS" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_only_the_url_of_a_configured_database_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        rows = settings.rows(Settings())
        return next(row.value for row in rows if row.variable == "PLAYHEAD_DATABASE_URL")

    assert shown().endswith("playhead.db")
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", "postgresql://anna:hunter2@db/x")
    assert shown() == settings.HIDDEN


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")])
def test_the_api_url_follows_its_host(host: str, url: str) -> None:
    assert load_settings(api_host=host).api_url == url
