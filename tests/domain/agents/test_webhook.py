"""Validation of an agent's webhook: accepted values, errors with their paths, and warnings."""

from typing import Any

import pytest

from domain.agents.definition import InvalidAgent, Webhook, parse_definition, warnings_for

AGENT: dict[str, Any] = {"name": "desk", "start": "desk", "nodes": {"desk": {"prompt": "Ask.", "end": True}}}


def with_webhook(**webhook: Any) -> dict[str, Any]:
    return {**AGENT, "webhook": {"url": "https://example.com/hook", "secret": "HOOK_KEY", **webhook}}


def faults(definition: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidAgent) as caught:
        parse_definition(definition)
    return [(issue.path, issue.message) for issue in caught.value.issues]


def test_an_agent_without_a_webhook_has_none() -> None:
    assert parse_definition(AGENT).webhook is None


def test_a_webhook_reports_ends_of_sessions() -> None:
    definition = parse_definition(with_webhook())
    assert definition.webhook == Webhook(url="https://example.com/hook", secret="HOOK_KEY")
    assert definition.webhook.events == ("session_completed",)
    assert warnings_for(definition) == ()


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"url": "ftp://example.com"}, "webhook.url", "must be an http:// or https:// address"),
        ({"url": "https://"}, "webhook.url", "must be an http:// or https:// address"),
        ({"url": " "}, "webhook.url", "must not be empty"),
        ({"url": "https://{{host}}/x"}, "webhook.url", "must not be a template"),
        ({"url": "https://anna:secret@example.com/x"}, "webhook.url", "must not hold a user name or password"),
        ({"secret": "whsec_abc="}, "webhook.secret", "the name"),
        ({"secret": None}, "webhook.secret", "text"),
        ({"events": ["session_started"]}, "webhook.events[0]", "must be one of"),
        ({"events": []}, "webhook.events", "is empty"),
        ({"evnts": []}, "webhook.evnts", "events"),
    ],
)
def test_an_invalid_webhook_is_refused_with_its_path(changes: dict[str, Any], place: str, said: str) -> None:
    found = faults(with_webhook(**changes))
    assert [at for at, _ in found] == [place]
    assert said in found[0][1]


def test_a_webhook_needs_an_address_and_a_secret() -> None:
    assert {place for place, _ in faults({**AGENT, "webhook": {}})} == {"webhook.url", "webhook.secret"}
    assert faults({**AGENT, "webhook": "https://example.com"})[0][0] == "webhook"


def test_a_webhook_over_plain_http_is_warned_about() -> None:
    (warning,) = warnings_for(parse_definition(with_webhook(url="http://example.com/hook")))
    assert warning.startswith("webhook.url: sends the transcript over http://")
