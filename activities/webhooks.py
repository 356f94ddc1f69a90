"""Webhooks as activities: one attempt to send a signed report, and what came of it in the session's log."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.network.interface import NotSent, WebhookResponse
from activities.network.secrets import Credentials
from contracts.webhooks import (
    DeliverWebhookResult,
    RecordDeliveryInput,
    SendWebhookInput,
    SendWebhookResult,
    WebhookTarget,
)
from domain.dograh.disposition import disposition_of, tags_of
from domain.sessions.transcript import entries_of
from domain.sessions.views import SessionHead
from domain.turns.turn import Turn
from domain.usage import Cost
from domain.webhooks.session_report import MAX_REPORT_TURNS, CompletedSession, SessionCompleted
from domain.webhooks.signing import decode_key, sign

if TYPE_CHECKING:
    from store.sessions.sessions import StoredSession

GONE = 410
"""The status with which a receiver says that it wants no more."""


class Sessions(Protocol):
    """Where sessions are found; the store is one."""

    async def find(self, organization_id: str, session_id: str) -> "StoredSession | None":
        """The organization's session of this id."""
        ...

    async def turns(self, session_id: str, *, leaf_turn_id: str, limit: int) -> list[Turn]:
        """The newest turns of the branch that ends at a leaf, oldest first."""
        ...


class Deliveries(Protocol):
    """Where it is written down what came of deliveries; the store is one such place."""

    async def record(self, session_id: str, result: DeliverWebhookResult, at: datetime) -> None:
        """Write it down, once."""
        ...


class Sender(Protocol):
    """The edge to the receivers."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Send a report once. Raises NotSent."""
        ...


class WebhookActivities:
    """Sends reports. `credentials` are those that agents name, `own_secret` signs for the installation."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        deliveries: Deliveries,
        sender: Sender,
        credentials: Credentials,
        own_secret: str | None,
    ) -> None:
        self._sessions = sessions
        self._deliveries = deliveries
        self._sender = sender
        self._credentials = credentials
        self._own_secret = own_secret

    @activity.defn
    async def send_webhook(self, input: SendWebhookInput) -> SendWebhookResult:
        """Send a report once, or once more: every attempt carries the same id and body, and a signature of its own.

        Whatever is no success may be one later, as Standard Webhooks has it; two things end all attempts: the
        receiver says 410, or the session was erased.
        """
        session = await self._sessions.find(input.organization_id, input.session_id)
        if session is None or session.head is None:
            raise ApplicationError("The session was erased.", type="session_erased", non_retryable=True)
        key = self._key(input.organization_id, input.target)
        body = await self._report(session, session.head)
        try:
            answer = await self._sender.send(input.target.url, _headers(input.webhook_id, key, body), body)
        except NotSent as failure:
            raise _failed(str(failure)) from None
        if not 200 <= answer.status < 300:
            raise _refused(answer)
        return SendWebhookResult(status=answer.status, attempt=activity.info().attempt)

    @activity.defn
    async def record_delivery(self, input: RecordDeliveryInput) -> None:
        """Write into the session's log what came of a delivery, once. Nothing is written of an erased session."""
        await self._deliveries.record(input.session_id, input.result, input.at)

    async def _report(self, session: "StoredSession", head: SessionHead) -> bytes:
        """The body, the same at every attempt: a session that has closed its books does not change any more."""
        turns: list[Turn] = []
        if head.head_turn_id is not None:
            turns = await self._sessions.turns(session.id, leaf_turn_id=head.head_turn_id, limit=MAX_REPORT_TURNS)
        report = SessionCompleted(timestamp=head.updated_at, data=_completed(session, head, turns))
        return report.model_dump_json().encode()

    def _key(self, organization_id: str, target: WebhookTarget) -> bytes:
        secret = self._own_secret if target.secret is None else self._credentials.of(organization_id).get(target.secret)
        name = "PLAYHEAD_WEBHOOK_SECRET" if target.secret is None else f"the credential {target.secret}"
        if not secret:
            raise _failed(f"The report cannot be signed: {name} is not set on this installation.")
        try:
            return decode_key(secret)
        except ValueError as error:
            raise _failed(f"The report cannot be signed with {name}: {error}.") from None


def _headers(webhook_id: str, key: bytes, body: bytes) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "content-type": "application/json",
        "user-agent": "Playhead",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(key, webhook_id, now, body),
    }


def _failed(message: str, pause: timedelta | None = None) -> ApplicationError:
    return ApplicationError(message, type="webhook_failed", next_retry_delay=pause)


def _refused(answer: WebhookResponse) -> ApplicationError:
    message = f"The receiver answered {answer.status} {answer.reason}".rstrip() + "."
    if answer.status == GONE:
        return ApplicationError(message, type="webhook_gone", non_retryable=True)
    return _failed(message, _longer_pause(answer.retry_after))


def _longer_pause(asked: float | None) -> timedelta | None:
    """The pause that a receiver asks for, where it is longer than the one that is due, up to the longest there is."""
    policy = activity.info().retry_policy
    if asked is None or policy is None or policy.maximum_interval is None:
        return None
    growth = policy.backoff_coefficient ** (activity.info().attempt - 1)
    due = policy.initial_interval.total_seconds() * growth
    pause = min(asked, policy.maximum_interval.total_seconds())
    return timedelta(seconds=pause) if pause > due else None


def _completed(session: "StoredSession", head: SessionHead, turns: list[Turn]) -> CompletedSession:
    return CompletedSession(
        id=session.id,
        workflow_run_id=session.number,
        agent_id=session.agent_id,
        agent_version=session.agent_version,
        agent_name=session.agent_name,
        model=session.model,
        name=session.name,
        revision=head.revision,
        completion_reason=head.completion_reason or "",
        disposition=disposition_of(head.completion_reason) or "",
        tags=tags_of(head.gathered_context, head.completion_reason),
        current_node_id=head.current_node_id,
        initial_context={**session.initial_context, **head.fetched_context},
        gathered_context=head.gathered_context,
        annotations=session.annotations,
        simulator=session.simulator,
        usage=head.usage,
        cost=_plain(head.cost),
        created_at=session.created_at,
        updated_at=head.updated_at,
        turns_before=turns[0].index if turns else 0,
        transcript=tuple(entry for turn in turns for entry in entries_of(turn)),
    )


def _plain(cost: Cost) -> Cost:
    """The same amounts without the zeros that come of exact rounding, as the API shows them."""
    breakdown = {what: amount.normalize() for what, amount in cost.breakdown.items()}
    return cost.model_copy(update={"total": cost.total.normalize(), "breakdown": breakdown})
