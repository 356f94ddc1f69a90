"""Webhooks as activities: send a signed session report once, and record the delivery in the session's event log."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from activities.network.interface import DeliveryFailed, WebhookResponse
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

log = logging.getLogger(__name__)


class SessionReader(Protocol):
    """Reads sessions and their turns; SessionStore is the implementation."""

    async def find(self, organization_id: str, session_id: str) -> "StoredSession | None":
        """The session with this id, if it belongs to the organization."""
        ...

    async def turns(self, session_id: str, *, leaf_turn_id: str, limit: int) -> list[Turn]:
        """The newest turns of the branch that ends at a leaf, oldest first."""
        ...


class DeliveryRecorder(Protocol):
    """Records the results of deliveries; DeliveryLog is the implementation."""

    async def record(self, session_id: str, result: DeliverWebhookResult, at: datetime) -> None:
        """Record a delivery's result, once."""
        ...


class Sender(Protocol):
    """Sends HTTP requests to webhook receivers."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Send one request. Raises DeliveryFailed."""
        ...


class WebhookActivities:
    """Sends session reports, signed with a credential named by the agent or with `installation_secret`."""

    def __init__(
        self,
        *,
        sessions: SessionReader,
        deliveries: DeliveryRecorder,
        sender: Sender,
        credentials: Credentials,
        installation_secret: str | None,
    ) -> None:
        self._sessions = sessions
        self._deliveries = deliveries
        self._sender = sender
        self._credentials = credentials
        self._installation_secret = installation_secret

    @activity.defn
    async def send_webhook(self, input: SendWebhookInput) -> SendWebhookResult:
        """Make one attempt to send a report: the same id and body at every attempt, signed anew.

        Every failure is retryable, as Standard Webhooks recommends, with two exceptions: the receiver answers
        410 Gone, or the session was erased.
        """
        async with heartbeats():
            return await self._send(input)

    async def _send(self, input: SendWebhookInput) -> SendWebhookResult:
        session = await self._sessions.find(input.organization_id, input.session_id)
        if session is None or session.head is None:
            raise ApplicationError("The session was erased.", type="session_erased", non_retryable=True)
        key = self._key(input.organization_id, input.target)
        body = await self._report(session, session.head)
        try:
            response = await self._sender.send(input.target.url, _headers(input.webhook_id, key, body), body)
        except DeliveryFailed as failure:
            raise _delivery_failed(str(failure)) from None
        if not 200 <= response.status < 300:
            raise _rejected(response)
        return SendWebhookResult(status=response.status)

    @activity.defn
    async def record_delivery(self, input: RecordDeliveryInput) -> None:
        """Record a delivery's result in the session's event log, once; nothing for an erased session."""
        async with heartbeats():
            await self._deliveries.record(input.session_id, input.result, input.at)

    async def _report(self, session: "StoredSession", head: SessionHead) -> bytes:
        """The request's body, the same at every attempt: a settled session does not change any more."""
        turns: list[Turn] = []
        if head.head_turn_id is not None:
            turns = await self._sessions.turns(session.id, leaf_turn_id=head.head_turn_id, limit=MAX_REPORT_TURNS)
        report = SessionCompleted(timestamp=head.updated_at, data=_completed_session(session, head, turns))
        return report.model_dump_json().encode()

    def _key(self, organization_id: str, target: WebhookTarget) -> bytes:
        name, secret = target.secret, self._installation_secret
        if name is not None:
            secret = self._credentials.for_organization(organization_id).get(name)
        if not secret and name is not None:
            raise _delivery_failed(
                f"The report cannot be signed: the credential {name} is not set on this installation."
            )
        try:
            return decode_key(secret or "")
        except ValueError as error:
            if name is None:  # a setting is the operator's business, not the organization's
                log.warning("webhooks cannot be signed with PLAYHEAD_WEBHOOK_SECRET: %s", error)
                raise _delivery_failed("The report cannot be signed: ask the operator of this installation.") from None
            raise _delivery_failed(f"The report cannot be signed with the credential {name}: {error}.") from None


def _headers(webhook_id: str, key: bytes, body: bytes) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "content-type": "application/json",
        "user-agent": "Playhead",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(key, webhook_id, now, body),
    }


def _delivery_failed(message: str, pause: timedelta | None = None) -> ApplicationError:
    """The failure of an attempt. `pause` is what the receiver requests before the next one; the workflow decides."""
    return ApplicationError(message, type="webhook_failed", next_retry_delay=pause)


def _rejected(response: WebhookResponse) -> ApplicationError:
    message = f"The receiver answered {response.status} {response.reason}".rstrip() + "."
    if response.status == HTTPStatus.GONE:
        return ApplicationError(message, type="webhook_gone", non_retryable=True)
    return _delivery_failed(message, None if response.retry_after is None else timedelta(seconds=response.retry_after))


def _completed_session(session: "StoredSession", head: SessionHead, turns: list[Turn]) -> CompletedSession:
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
        cost=_normalized(head.cost),
        created_at=session.created_at,
        updated_at=head.updated_at,
        turns_before=turns[0].index if turns else 0,
        transcript=tuple(entry for turn in turns for entry in entries_of(turn)),
    )


def _normalized(cost: Cost) -> Cost:
    """The cost with trailing zeros removed from its amounts, as the API shows them."""
    breakdown = {item: amount.normalize() for item, amount in cost.breakdown.items()}
    return cost.model_copy(update={"total": cost.total.normalize(), "breakdown": breakdown})
