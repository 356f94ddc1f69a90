"""`playhead embed`: tokens are made, shown once, listed and revoked, directly in the store."""

import asyncio
import json
from pathlib import Path

import pytest

from playhead.config.settings import load_settings
from playhead.exit_codes import USAGE
from store.agents import AgentStore
from store.database.connection import Database
from tests.playhead.cli.running import playhead, printed
from tests.support.stored_conversations import definition

PAGE = ("--origin", "https://shop.example.com")


@pytest.fixture(autouse=True)
def _agent() -> None:
    """A migrated store with one agent of the default organization."""
    assert playhead("db", "upgrade").exit_code == 0
    assert playhead("keys", "create", "tests").exit_code == 0

    async def push() -> None:
        database = Database.open(load_settings().database_url)
        await AgentStore(database).add_version("default", definition(), ())
        await database.aclose()

    asyncio.run(push())


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    result = playhead("embed", "create", "booking-line", *PAGE)
    secret = result.stdout.strip()
    assert secret.startswith("emb_"), "the token stands alone on standard output, for scripts"
    widget = tmp_path / "widget.json"
    widget.write_text(json.dumps({"theme": "dark"}))
    limits = ("--version", "1", "--max-sessions", "9", "--days", "30", "--settings", str(widget), "--name", "campaign")
    made = printed(
        playhead("embed", "create", "booking-line", *PAGE, "--origin", "https://*.Example.com:443", *limits, "--json")
    )
    assert made["token"].startswith("emb_")
    plain, limited = printed(playhead("embed", "ls", "--json"))
    assert (plain["name"], plain["origins"], plain["ends_with"]) == ("booking-line", [PAGE[1]], secret[-4:])
    assert (plain["agent_version"], plain["max_sessions"], plain["expires_at"]) == (None, None, None)
    assert (limited["id"], limited["name"], limited["organization"]) == (made["id"], "campaign", "default")
    assert (limited["origins"], limited["settings"]) == ([PAGE[1], "https://*.example.com"], {"theme": "dark"})
    assert (limited["agent_version"], limited["max_sessions"]) == (1, 9)
    assert limited["expires_at"]
    listed = playhead("embed", "ls").stdout
    assert plain["id"] in listed
    assert secret not in listed
    assert playhead("embed", "revoke", plain["id"]).exit_code == 0
    assert printed(playhead("embed", "ls", "--json"))[0]["revoked_at"]
    again = playhead("embed", "revoke", plain["id"])
    assert again.exit_code == USAGE
    assert "playhead embed ls" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["booking-line"], "--origin"),
        (["booking-line", "--origin", "shop.example.com"], "is not an origin"),
        (["nobody", *PAGE], "There is no agent nobody in organization default"),
        (["booking-line", *PAGE, "--version", "7"], "There is no agent booking-line, version 7, in"),
        (["booking-line", *PAGE, "--organization", "acme"], "in organization acme"),
        (["booking-line", *PAGE, "--settings", "missing.json"], "cannot be read as JSON"),
        (["booking-line", *PAGE, "--settings", "list.json"], "must be a JSON object"),
        (["booking-line", *PAGE, "--settings", "large.json"], "must be a JSON object of at most 8,192 bytes"),
    ],
)
def test_invalid_token_request_is_reported_and_stores_nothing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "large.json").write_text(json.dumps({"text": "x" * 9_000}))
    arguments = [
        str(tmp_path / each) if each.endswith(".json") and each != "missing.json" else each for each in arguments
    ]
    result = playhead("embed", "create", *arguments)
    assert result.exit_code == USAGE
    assert message in " ".join(result.stderr.split())
    assert printed(playhead("embed", "ls", "--json")) == []
