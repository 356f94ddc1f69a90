"""One attempt to send a report: the request, and the handling of each response."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import JsonValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.network.interface import DeliveryFailed, WebhookResponse
from activities.network.secrets import Credentials
from activities.webhooks import WebhookActivities
from contracts.webhooks import (
    DeliverWebhookResult,
    SendWebhookInput,
    SendWebhookResult,
    WebhookTarget,
    webhook_id_of,
)
from domain.agents.definition import AgentDefinition, Limits, parse_definition
from domain.sessions.timeline import Timeline
from domain.sessions.views import head_of
from domain.turns.turn import Turn
from domain.usage import rounded_cost
from domain.webhooks.session_report import MAX_REPORT_TURNS, SessionCompleted
from domain.webhooks.signing import decode_key, sign
from store.sessions.sessions import StoredSession
from tests.support.conversation import BEGINNING, Conversation

AGENT: AgentDefinition = parse_definition(
    {"name": "a", "start": "hi", "nodes": {"hi": {"prompt": "Talk.", "end": True}}}
)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
INPUT = SendWebhookInput(
    session_id="ses_1",
    organization_id="org",
    webhook_id=webhook_id_of("ses_1"),
    target=WebhookTarget(url="https://example.com/hook", secret="HOOK_KEY"),
)


@dataclass
class Receiver:
    """A receiver with scripted responses and a journal of its requests."""

    answer: WebhookResponse | DeliveryFailed = field(default_factory=lambda: WebhookResponse(204, "No Content"))
    sent: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        self.sent.append((url, headers, body))
        if isinstance(self.answer, DeliveryFailed):
            raise self.answer
        return self.answer


class Sessions:
    """A store with one session that has ended."""

    def __init__(self, timeline: Timeline, **changes: JsonValue) -> None:
        head = head_of(timeline, AGENT, "run-1").model_copy(update=changes)
        self.session = StoredSession(
            id="ses_1",
            number=17,
            organization_id="org",
            agent_id="agt_1",
            agent_version=3,
            agent_name="booking-line",
            agent_number=5,
            name="WR-TEXT-ABCDEF",
            model="demo",
            created_at=BEGINNING,
            initial_context={"first_name": "Ada"},
            annotations={"ticket": 7},
            head=head,
            recorded_at=BEGINNING,
        )
        self._turns = list(timeline.visible_turns())[::-1]

    async def find(self, organization_id: str, session_id: str) -> StoredSession | None:
        return self.session if (organization_id, session_id) == ("org", "ses_1") else None

    async def turns(self, session_id: str, *, leaf_turn_id: str, limit: int) -> list[Turn]:
        assert self._turns[-1].id == leaf_turn_id
        return self._turns[-limit:]


class NoDeliveries:
    """A delivery log that must not be written to."""

    async def record(self, session_id: str, result: DeliverWebhookResult, at: datetime) -> None:
        raise AssertionError("an attempt records nothing")


def ended(exchanges: int = 1) -> Timeline:
    talk = Conversation(Limits(max_turns=exchanges + 2)).greeted()
    for number in range(exchanges):
        talk.exchange(f"Question {number}?")
    talk.end()
    return talk.timeline


async def send(
    receiver: Receiver,
    sessions: Sessions | None = None,
    *,
    input: SendWebhookInput = INPUT,
    installation_secret: str | None = None,
) -> SendWebhookResult:
    environment = ActivityEnvironment()
    webhooks = WebhookActivities(
        sessions=sessions or Sessions(ended()),
        deliveries=NoDeliveries(),
        sender=receiver,
        credentials=Credentials({"HOOK_KEY": "whsec_of everyone"}, {"org": {"HOOK_KEY": SECRET}}),
        installation_secret=installation_secret,
    )
    return await environment.run(webhooks.send_webhook, input)


async def refused(answer: WebhookResponse | DeliveryFailed) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await send(Receiver(answer))
    return caught.value


async def test_a_report_contains_the_outcome_of_the_session() -> None:
    receiver = Receiver()
    spent = rounded_cost("test:model", Decimal("0.0165"))
    gathered: dict[str, JsonValue] = {"party_size": 4, "call_tags": ["vip"]}
    sessions = Sessions(ended(), cost=spent, gathered_context=gathered, fetched_context={"member": True})  # type: ignore[arg-type]  # values of a head
    await send(receiver, sessions)
    [(url, headers, body)] = receiver.sent
    assert (url, headers["content-type"]) == ("https://example.com/hook", "application/json")
    report = SessionCompleted.model_validate_json(body)
    data = report.data
    assert (report.type, report.timestamp) == ("session.completed", data.updated_at)
    assert (data.id, data.workflow_run_id, data.agent_name) == ("ses_1", 17, "booking-line")
    assert (data.completion_reason, data.disposition, data.tags) == (
        "user_hangup",
        "user_hangup",
        ("vip", "user_hangup"),
    )
    assert data.initial_context == {"first_name": "Ada", "member": True}
    assert data.gathered_context == gathered
    assert b'"total":"0.0165"' in body, "money is written as the API writes it"
    assert [entry.speaker for entry in data.transcript] == ["agent", "user", "agent", "note"]


async def test_a_report_is_signed_for_the_moment_of_its_attempt() -> None:
    receiver = Receiver()
    await send(receiver)
    [(_, headers, body)] = receiver.sent
    timestamp = int(headers["webhook-timestamp"])
    assert abs(timestamp - datetime.now(UTC).timestamp()) < 60
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-signature"] == sign(decode_key(SECRET), "msg_1", timestamp, body)


@pytest.mark.parametrize("secret", [None, "hunter2"])
async def test_the_operators_settings_are_named_only_in_the_log(
    secret: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    own = INPUT.model_copy(update={"target": WebhookTarget(url="https://example.com/hook")})
    with pytest.raises(ApplicationError) as caught:
        await send(Receiver(), input=own, installation_secret=secret)
    assert caught.value.message == "The report cannot be signed: ask the operator of this installation."
    assert "PLAYHEAD_WEBHOOK_SECRET" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_transcript_of_a_long_session_is_cut_to_its_newest_turns() -> None:
    receiver = Receiver()
    await send(receiver, Sessions(ended(exchanges=MAX_REPORT_TURNS + 9)))
    data = SessionCompleted.model_validate_json(receiver.sent[0][2]).data
    assert data.turns_before == 10
    assert len({entry.turn_id for entry in data.transcript}) == MAX_REPORT_TURNS
    assert data.transcript[-1].text == "The session ended: user_hangup."


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_a_2xx_status_is_a_success(status: int) -> None:
    assert await send(Receiver(WebhookResponse(status, ""))) == SendWebhookResult(status=status)


@pytest.mark.parametrize("status", [100, 301, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503])
async def test_any_other_status_is_retried(status: int) -> None:
    failure = await refused(WebhookResponse(status, "No"))
    assert (failure.message, failure.non_retryable) == (f"The receiver answered {status} No.", False)


async def test_only_status_410_ends_a_delivery_at_once() -> None:
    assert (await refused(WebhookResponse(410, "Gone"))).non_retryable


async def test_a_report_that_did_not_arrive_is_sent_again() -> None:
    failure = await refused(DeliveryFailed("The connection to the receiver failed."))
    assert (failure.message, failure.non_retryable) == ("The connection to the receiver failed.", False)


async def test_a_session_that_was_erased_is_not_reported() -> None:
    receiver = Receiver()
    with pytest.raises(ApplicationError, match="The session was erased") as caught:
        await send(receiver, input=INPUT.model_copy(update={"organization_id": "org_other"}))
    assert caught.value.non_retryable
    assert receiver.sent == []


@pytest.mark.parametrize("seconds", [None, 0, 4, 10**9])
async def test_a_requested_pause_is_passed_on_to_the_workflow(seconds: float | None) -> None:
    failure = await refused(WebhookResponse(503, "Busy", retry_after=seconds))
    assert failure.next_retry_delay == (timedelta(seconds=seconds) if seconds is not None else None)
