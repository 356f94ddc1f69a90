"""Webhook deliveries to a real receiver that keeps a journal and checks signatures independently."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pytest_httpserver import HTTPServer
from sqlalchemy import select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker
from werkzeug import Request, Response

from contracts.webhooks import DeliverWebhookResult, DeliveryRetryPolicy, WebhookTarget, webhook_workflow_id
from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Connection, Database
from store.database.tables import events
from store.sessions.erasure import ErasureStore
from tests.support.activities import CREDENTIALS
from tests.support.provider import ScriptedModel, TextReply
from tests.support.session_stack import ORGANIZATION, SessionHandle, SessionStack
from tests.support.waiting import eventually
from tests.workflows.session.killable_worker import KillPoint, killable_worker
from workflows.webhook_delivery import CANCELLED, DeliverWebhookWorkflow, pause_after

Scripted = Callable[..., ScriptedModel]
Json = dict[str, Any]

OWN_SECRET = "whsec_" + base64.b64encode(b"the key of the installation").decode()
IMPATIENT = DeliveryRetryPolicy(first_pause=0.05, longest_pause=0.2, give_up_after=60.0)
BRIEF = DeliveryRetryPolicy(first_pause=0.05, longest_pause=0.2, give_up_after=5.0)


@dataclass(frozen=True)
class Received:
    """One report as it came in."""

    id: str
    timestamp: int
    signature: str
    body: bytes

    @property
    def data(self) -> Json:
        """The report on the session."""
        data: Json = json.loads(self.body)["data"]
        return data

    def is_signed_with(self, secret: str) -> bool:
        """True when the signature is right: computed here as Standard Webhooks describes it."""
        key = base64.b64decode(secret.split("_", 1)[1])
        signed = f"{self.id}.{self.timestamp}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(self.signature, f"v1,{expected}")


class Receiver:
    """A receiver of reports that answers with these statuses one after the other, and then with 204."""

    def __init__(self, server: HTTPServer, *statuses: int) -> None:
        self.url = server.url_for("/hook")
        self._server = server
        self._statuses = list(statuses)
        server.expect_request("/hook", method="POST").respond_with_handler(self._answer)

    @property
    def journal(self) -> list[Received]:
        """Every report that came in, oldest first."""
        return [
            Received(
                id=request.headers["webhook-id"],
                timestamp=int(request.headers["webhook-timestamp"]),
                signature=request.headers["webhook-signature"],
                body=request.data,
            )
            for request, _ in self._server.log
        ]

    def target(self, patience: DeliveryRetryPolicy = IMPATIENT, *, secret: str | None = "HOOK_KEY") -> WebhookTarget:
        return WebhookTarget(url=self.url, secret=secret, patience=patience)

    def _answer(self, _: Request) -> Response:
        return Response("", status=self._statuses.pop(0) if self._statuses else 204)


@pytest_asyncio.fixture(scope="module")
async def stack(client: Client, database: Database) -> AsyncIterator[SessionStack]:
    """A worker as `playhead worker` builds it, whose webhooks may reach this machine."""
    stack = SessionStack.on(client, database, "sessions-webhooks")
    async with worker_of(stack):
        yield stack


def worker_of(stack: SessionStack) -> Worker:
    settings = Settings(
        database_url=stack.database.address,
        task_queue=stack.task_queue,
        credentials={**CREDENTIALS, "NO_KEY": "not one"},
        webhook_secret=OWN_SECRET,
        egress_allowlist=("127.0.0.1", "localhost"),
        shutdown_grace_seconds=0.1,
    )
    return build_worker(settings, stack.client, stack.database)


async def delivered(session: SessionHandle) -> DeliverWebhookResult:
    """The outcome of the report on the session's end, once it is known."""
    await session.handle.result()
    delivery: WorkflowHandle[DeliverWebhookWorkflow, DeliverWebhookResult]
    delivery = session.stack.client.get_workflow_handle_for(DeliverWebhookWorkflow.run, webhook_workflow_id(session.id))
    return await delivery.result()


async def logged(session: SessionHandle) -> list[tuple[int, str, Json]]:
    """The end of the session's log: number, type and payload of each event from its completion on."""
    statement = select(events).where(events.c.session_id == session.id).order_by(events.c.sequence)

    def work(connection: Connection) -> list[tuple[int, str, Json]]:
        return [(row.sequence, row.type, row.payload) for row in connection.execute(statement)]

    log = await session.stack.database.read(work)
    place = [kind for _, kind, _ in log].index("session_completed")
    return log[place:]


async def test_the_end_of_a_session_is_reported_signed_and_recorded(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    session = await stack.open(model=scripted(TextReply("At nine.")).string, webhook=receiver.target())
    await session.say("When do you open?")
    ended = await session.end("the building burns")
    result = await delivered(session)
    assert (result.status, result.attempt, result.error) == (204, 1, None)
    (report,) = receiver.journal
    assert report.is_signed_with(CREDENTIALS["HOOK_KEY"])
    assert abs(report.timestamp - datetime.now(UTC).timestamp()) < 60
    body = json.loads(report.body)
    assert (body["type"], datetime.fromisoformat(body["timestamp"])) == ("session.completed", ended.updated_at)
    data = report.data
    assert (data["id"], data["completion_reason"], data["disposition"], data["tags"]) == (
        session.id,
        "the building burns",
        "the building burns",
        ["the building burns"],
    )
    assert data["usage"]["llm"].keys() == ended.usage.llm.keys()
    assert [(entry["speaker"], entry["text"]) for entry in data["transcript"]] == [
        ("agent", "Good morning, this is the town library."),
        ("user", "When do you open?"),
        ("agent", "At nine."),
        ("note", "The session ended: the building burns."),
    ]
    (_, completed, _), (_, reported, payload) = await logged(session)
    assert (completed, reported) == ("session_completed", "webhook_delivered")
    assert payload == {"webhook_id": report.id, "status": 204, "attempt": 1}


async def test_everything_is_settled_when_the_end_is_reported(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    session = await stack.open(model=scripted(TextReply("At nine.")).string, webhook=receiver.target())
    await session.say("When do you open?")
    await session.end()
    await delivered(session)
    (report,) = receiver.journal
    assert len(await stack.ledger(session)) == 2
    usage = [entry.usage.total_tokens for entry in await stack.ledger(session)]
    (reported,) = report.data["usage"]["llm"].values()
    assert reported["total_tokens"] == sum(usage)


async def test_a_session_closes_while_its_receiver_is_away(stack: SessionStack, httpserver: HTTPServer) -> None:
    receiver = Receiver(httpserver, *[503] * 100)
    session = await stack.open(webhook=receiver.target(BRIEF))
    await session.end()
    assert (await session.handle.result()).completion_reason == "user_hangup"
    result = await delivered(session)
    assert (result.status, result.error) == (None, "The receiver answered 503 Service Unavailable.")
    assert len(receiver.journal) > 3
    assert (await logged(session))[-1][1] == "webhook_failed"


async def test_a_report_is_resent_unchanged_until_the_receiver_accepts_it(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    """Also after statuses that look final: Standard Webhooks retries everything but 410."""
    statuses = (500, 404, 401, 301, 409)
    receiver = Receiver(httpserver, *statuses)
    session = await stack.open(webhook=receiver.target())
    await session.end()
    result = await delivered(session)
    assert (result.status, result.attempt) == (204, len(statuses) + 1)
    assert len({(report.id, report.body) for report in receiver.journal}) == 1
    assert all(report.is_signed_with(CREDENTIALS["HOOK_KEY"]) for report in receiver.journal)
    assert len(receiver.journal) == len(statuses) + 1


async def test_a_receiver_that_answers_410_gets_no_further_attempts(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver, 410)
    session = await stack.open(webhook=receiver.target())
    await session.end()
    result = await delivered(session)
    assert result.error == "The receiver answered 410 Gone."
    assert len(receiver.journal) == 1
    assert (await logged(session))[-1][2]["error"] == result.error


async def test_an_abandoned_report_is_sent_again_when_its_workflow_is_reset(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver, 410)
    session = await stack.open(webhook=receiver.target())
    await session.end()
    await delivered(session)
    first_task = 4
    reset = ResetWorkflowExecutionRequest(
        namespace=stack.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=webhook_workflow_id(session.id)),
        workflow_task_finish_event_id=first_task,
        request_id=session.id,
    )
    await stack.client.workflow_service.reset_workflow_execution(reset, retry=True)
    assert (await delivered(session)).status == 204
    assert len({(report.id, report.body) for report in receiver.journal}) == 1
    assert [kind for _, kind, _ in await logged(session)][1:] == ["webhook_failed", "webhook_delivered"]


async def test_the_installations_own_webhook_is_signed_with_its_own_secret(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    session = await stack.open(webhook=receiver.target(secret=None))
    await session.end()
    await delivered(session)
    (report,) = receiver.journal
    assert report.is_signed_with(OWN_SECRET)


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        ("UNKNOWN", "The report cannot be signed: the credential UNKNOWN is not set on this installation."),
        (
            "NO_KEY",
            "The report cannot be signed with the credential NO_KEY: a webhook secret must be whsec_ followed by",
        ),
    ],
)
async def test_a_report_that_cannot_be_signed_is_not_sent(
    stack: SessionStack, httpserver: HTTPServer, secret: str, error: str
) -> None:
    receiver = Receiver(httpserver)
    session = await stack.open(webhook=receiver.target(BRIEF, secret=secret))
    await session.end()
    result = await delivered(session)
    assert result.error is not None
    assert result.error.startswith(error)
    assert receiver.journal == []


async def test_an_address_that_is_not_public_is_not_reached(stack: SessionStack, httpserver: HTTPServer) -> None:
    receiver = Receiver(httpserver)
    elsewhere = receiver.url.replace("localhost", "127.0.0.2").replace("127.0.0.1", "127.0.0.2")
    session = await stack.open(webhook=WebhookTarget(url=elsewhere, secret="HOOK_KEY", patience=BRIEF))
    await session.end()
    assert (await delivered(session)).error == "Webhooks may not reach the receiver's address."
    assert receiver.journal == []


async def test_an_unreachable_receiver_is_tried_until_the_time_is_over(stack: SessionStack) -> None:
    session = await stack.open(webhook=WebhookTarget(url="http://127.0.0.1:9/", secret="HOOK_KEY", patience=BRIEF))
    await session.end()
    assert (await delivered(session)).error == "The connection to the receiver failed."


async def test_a_timeout_during_an_attempt_keeps_the_earlier_failure(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    answers, is_over = [503], threading.Event()

    def answer(_: Request) -> Response:
        if not answers:
            is_over.wait(timeout=30)
        return Response("", status=answers.pop() if answers else 204)

    httpserver.expect_request("/hook").respond_with_handler(answer)
    target = WebhookTarget(url=httpserver.url_for("/hook"), secret="HOOK_KEY", patience=BRIEF)
    session = await stack.open(webhook=target)
    await session.end()
    result = await delivered(session)
    is_over.set()

    async def has_answered() -> bool:
        return len(httpserver.log) == 2

    await eventually(has_answered)  # an answer that came later would stand in the journal of the next test
    assert result.error == "The receiver answered 503 Service Unavailable."


async def test_a_delivery_that_resumes_after_its_time_limit_ends(
    stack_without_worker: SessionStack, httpserver: HTTPServer
) -> None:
    """No attempt gets a negative timeout: Temporal would reject it, and the delivery would never end."""
    stack, receiver = stack_without_worker, Receiver(httpserver, 503)
    patience = DeliveryRetryPolicy(first_pause=6.0, longest_pause=6.0, give_up_after=6.5)
    async with worker_of(stack):
        session = await stack.open(webhook=receiver.target(patience))
        await session.end()
        delivery = stack.client.get_workflow_handle(webhook_workflow_id(session.id))

        async def waits() -> bool:
            history = await delivery.fetch_history()
            return EventType.EVENT_TYPE_TIMER_STARTED in {event.event_type for event in history.events}

        await session.handle.result()
        await eventually(waits)
    gives_up_at = (await delivery.describe()).start_time + timedelta(seconds=patience.give_up_after)

    async def is_over() -> bool:
        return datetime.now(UTC) > gives_up_at

    await eventually(is_over)
    async with worker_of(stack):
        result = await delivered(session)
    assert (result.status, result.error) == (None, "The receiver answered 503 Service Unavailable.")
    assert len(receiver.journal) == 1


def test_pauses_between_attempts_grow_and_end_after_a_day() -> None:
    patience, pauses = DeliveryRetryPolicy(), list[float]()
    while sum(pauses) < patience.give_up_after:
        pauses.append(pause_after(len(pauses) + 1, patience).total_seconds())
    assert (patience.give_up_after, pauses[:7]) == (86_400, [5, 20, 80, 320, 1_280, 5_120, 14_400])
    assert len(pauses) == 12


@pytest.mark.parametrize(
    ("requested", "attempts", "pause"),
    [(0, 1, 5), (4, 1, 5), (60, 1, 60), (60, 3, 80), (600, 3, 600), (10**9, 1, 4 * 3_600)],
)
def test_a_receiver_can_request_a_longer_pause_and_not_a_shorter_one(
    requested: float, attempts: int, pause: float
) -> None:
    assert pause_after(attempts, DeliveryRetryPolicy(), timedelta(seconds=requested)) == timedelta(seconds=pause)


@pytest.mark.parametrize(("requested", "pause"), [(600, 600), (2, 30)])
async def test_a_delivery_waits_as_long_as_its_receiver_requests(
    stack: SessionStack, httpserver: HTTPServer, requested: int, pause: int
) -> None:
    answer = Response("", status=503, headers={"retry-after": str(requested)})
    httpserver.expect_request("/hook").respond_with_response(answer)
    patience = DeliveryRetryPolicy(first_pause=30.0)
    target = WebhookTarget(url=httpserver.url_for("/hook"), secret="HOOK_KEY", patience=patience)
    session = await stack.open(webhook=target)
    await session.end()
    await session.handle.result()
    delivery = stack.client.get_workflow_handle(webhook_workflow_id(session.id))

    async def timers() -> list[timedelta]:
        return [
            event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            for event in (await delivery.fetch_history()).events
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
        ]

    [waited] = await eventually(timers)
    assert timedelta(seconds=pause - 1) < waited <= timedelta(seconds=pause)
    await delivery.cancel()
    assert (await delivered(session)).error == CANCELLED


async def test_a_session_without_a_webhook_sends_no_report(stack: SessionStack) -> None:
    session = await stack.open()
    await session.end()
    await session.handle.result()
    assert (await session.event_counts())["START_CHILD_WORKFLOW_EXECUTION_INITIATED"] == 0


async def test_a_session_that_is_erased_while_its_receiver_is_away_is_never_reported(
    stack: SessionStack, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver, *[503] * 1000)
    session = await stack.open(webhook=receiver.target(DeliveryRetryPolicy(first_pause=0.5, longest_pause=0.5)))
    await session.end()
    await session.handle.result()

    async def attempts() -> int:
        return len(receiver.journal)

    await eventually(attempts)
    assert await ErasureStore(stack.database).erase(ORGANIZATION, session.id)
    before = await attempts()
    result = await delivered(session)
    assert result.error == "The session was erased."
    assert await attempts() <= before + 1, "only what was being sent may arrive yet"


async def test_the_history_of_a_delivery_contains_neither_text_nor_secret(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver, 500)
    session = await stack.open(model=scripted(TextReply("At nine.")).string, webhook=receiver.target())
    await session.say("When do you open?")
    await session.end()
    await delivered(session)
    history = await stack.client.get_workflow_handle(webhook_workflow_id(session.id)).fetch_history()
    written = b"".join(event.SerializeToString() for event in history.events)
    assert session.id.encode() in written
    for hidden in ("At nine", "When do you open", CREDENTIALS["HOOK_KEY"]):
        assert hidden.encode() not in written


async def test_a_report_whose_worker_dies_before_recording_it_is_resent_under_the_same_id(
    client: Client, database: Database, httpserver: HTTPServer
) -> None:
    """The receiver accepted the report, but its response was lost: it is sent again under the same id."""
    receiver = Receiver(httpserver)
    stack = SessionStack.on(client, database, "sessions-killed-webhook")
    async with killable_worker(client, stack.task_queue, database, kill_at=KillPoint("after", "send_webhook")) as first:
        session = await stack.open(webhook=receiver.target())
        await session.end()
        await first.killed()
    assert len(receiver.journal) == 1
    async with killable_worker(client, stack.task_queue, database, kill_at=None):
        result = await delivered(session)
    assert (result.status, result.attempt) == (204, 2)
    assert len({(report.id, report.body) for report in receiver.journal}) == 1
    assert [kind for _, kind, _ in await logged(session)] == ["session_completed", "webhook_delivered"]
