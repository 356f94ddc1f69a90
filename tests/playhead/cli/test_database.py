"""Commands that work on the store directly: keys, organizations and pruning."""

from pathlib import Path

import pytest

from playhead.exit_codes import UNREACHABLE, USAGE
from tests.playhead.cli.running import playhead, printed
from tests.support.ports import free_port


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    result = playhead("keys", "create", "ci")
    assert result.exit_code == USAGE
    assert "playhead db upgrade" in result.stderr

    assert printed(playhead("db", "upgrade", "--json"))["applied"]
    assert playhead("db", "upgrade").stdout == "The store is already up to date.\n"

    result = playhead("keys", "create", "ci")
    secret = result.stdout.strip()
    assert secret.startswith("phk_"), "the secret stands alone on standard output, for scripts"
    made = printed(playhead("keys", "create", "web", "--organization", "acme", "--json"))
    assert made["organization"] == "acme"
    assert made["key"].startswith("phk_")

    listed = {key["name"]: key for key in printed(playhead("keys", "ls", "--json"))}
    assert listed["ci"]["ends_with"] == secret[-4:]
    assert secret not in playhead("keys", "ls").stdout
    assert playhead("keys", "revoke", made["id"]).exit_code == 0
    result = playhead("keys", "revoke", made["id"])
    assert result.exit_code == USAGE
    assert "playhead keys ls" in result.stderr


def test_prices_and_spending_limits_of_organizations_are_set_and_listed() -> None:
    playhead("db", "upgrade")
    playhead("keys", "create", "web", "--organization", "acme")
    result = playhead("orgs", "set", "acme", "--price-per-second", "0.002", "--monthly-limit", "25")
    assert result.exit_code == 0, result.output
    assert playhead("orgs", "set", "acme", "--price-per-second", "none").exit_code == 0
    acme = {"id": "acme", "name": "acme", "price_per_second": None, "monthly_limit": "25", "spent_this_month": "0"}
    assert printed(playhead("orgs", "ls", "--json")) == [acme]
    listed = playhead("orgs", "ls").stdout
    assert "acme" in listed
    assert "25" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme"], "Nothing to set"),
        (["acme", "--monthly-limit", "a lot"], "not 'a lot'"),
        (["acme", "--monthly-limit", "-1"], "not between 0 and 1000000"),
        (["acme", "--price-per-second", "1e-13"], "more than twelve decimals"),
        (["nobody", "--monthly-limit", "1"], "playhead orgs ls"),
    ],
)
def test_invalid_terms_are_reported_and_change_nothing(arguments: list[str], message: str) -> None:
    playhead("db", "upgrade")
    playhead("keys", "create", "web", "--organization", "acme")
    result = playhead("orgs", "set", *arguments)
    assert result.exit_code == USAGE
    assert message in result.stderr
    [acme] = printed(playhead("orgs", "ls", "--json"))
    assert (acme["price_per_second"], acme["monthly_limit"]) == (None, None)


def test_an_unreachable_store_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", f"postgresql://anna:hunter2@127.0.0.1:{free_port()}/x")
    result = playhead("db", "upgrade")
    assert result.exit_code == UNREACHABLE
    assert "cannot be reached" in result.stderr
    assert "hunter2" not in result.output


def test_nothing_is_pruned_while_temporal_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert playhead("db", "upgrade").exit_code == 0
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    result = playhead("db", "prune")
    assert result.exit_code == UNREACHABLE
    assert "Temporal cannot be reached" in result.stderr


def test_a_file_that_is_not_a_database_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", "sqlite:///notes.txt")
    result = playhead("keys", "ls")
    assert result.exit_code == USAGE
    assert "file is not a database" in result.stderr
