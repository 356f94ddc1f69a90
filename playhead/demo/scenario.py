"""The demo's scenario: the worker of a conversation is killed, then a rewind starts another branch."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import httpx2
from temporalio.api.enums.v1 import PendingActivityState

from contracts.sessions import session_workflow_id
from domain.turns.turn import Turn
from playhead.chat.session_view import ChatSession
from playhead.demo.audit import Evidence, TurnTexts
from playhead.demo.evidence import gather, texts_of
from playhead.demo.stack import DemoFailed
from workflows.session.workflow import SessionWorkflow

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from contracts.sessions import SessionResult
    from playhead.demo.output import Screen
    from playhead.demo.stack import DemoStack

AGENT = "booking-line"
BOOKING = (
    "Good evening! I would like to book a table for Friday.",
    "At 20:00, for four people.",
    "The name is Rossi.",
)
CANCELLATION = (
    "Good evening. I am afraid I have to cancel a booking.",
    "It is for Friday, under the name Rossi.",
    "Yes, please cancel it.",
    "No, that is all. Thank you, goodbye!",
)
MIN_REPLY_AGE = timedelta(seconds=0.1)
"""Minimum age of a model call before its worker is killed: more than the duration of a step without text."""
PROBE_INTERVAL_SECONDS = 0.02
CLOSE_SECONDS = 60.0
"""Upper bound on the time to settle and close the session after its end."""


class ReceivedReply(NamedTuple):
    """The answer to a message. `session` is the session after it, `seconds` the response time."""

    turn: Turn
    session: ChatSession
    message_id: str
    seconds: float


class Caller:
    """The demo's user: a client of one session over HTTP, which keeps all answered turns."""

    def __init__(self, http: httpx2.AsyncClient, session: ChatSession) -> None:
        self._http = http
        self.session = session
        self.answered: dict[str, TurnTexts] = {turn.id: texts_of(turn) for turn in session.turns}

    @classmethod
    async def open_session(cls, http: httpx2.AsyncClient, agent: str) -> "Caller":
        """Open a session and wait for the agent's greeting."""
        return cls(http, await _session(await http.post("/v1/sessions", json={"agent": agent})))

    async def send(self, text: str, message_id: str | None = None) -> ReceivedReply:
        """Send a message and wait for the reply. Raises DemoFailed after an error of the API or the model."""
        message_id = message_id or f"msg_{uuid4().hex[:12]}"
        began = monotonic()
        body = {"text": text, "message_id": message_id}
        self.session = await _session(await self._http.post(self._path("messages"), json=body))
        turn = self.session.turn_of(message_id)
        if turn is None:
            raise DemoFailed(f"the answer to {text!r} is not in the session that came with it")
        self.answered[turn.id] = texts_of(turn)
        return ReceivedReply(turn, self.session, message_id, monotonic() - began)

    async def rewind(self, turn: Turn) -> ChatSession:
        """Rewind to a turn."""
        self.session = await _session(await self._http.post(self._path("rewind"), json={"turn_id": turn.id}))
        return self.session

    async def end(self) -> ChatSession:
        """End the session, unless the agent has ended it already."""
        self.session = await _session(await self._http.post(self._path("end"), json={}))
        return self.session

    async def refresh(self) -> ChatSession:
        """Read the session again."""
        self.session = await _session(await self._http.get(self._path()))
        return self.session

    def _path(self, command: str = "") -> str:
        return f"/v1/sessions/{self.session.id}{f'/{command}' if command else ''}"


class DemoScenario:
    """The stages of the demo, in order."""

    def __init__(self, stack: "DemoStack", screen: "Screen") -> None:
        self._stack = stack
        self._screen = screen

    async def run(self) -> Evidence:
        """Run the whole conversation and return all records of it."""
        self._screen.stage("The conversation starts")
        caller = await Caller.open_session(self._stack.http, AGENT)
        greeting = caller.session.turns[0]
        workflow_id = session_workflow_id(caller.session.id)
        self._screen.note(f"workflow {workflow_id}, worker process {self._stack.worker.pid}")
        self._screen.agent(greeting)
        first, second, *others = BOOKING
        await self._say(caller, first)
        answered = await self._survive_a_kill(caller, (second, *others))
        await self._repeat(caller, answered)
        await self._take_another_branch(caller, greeting)
        return await self._close(caller)

    async def _say(self, caller: Caller, text: str) -> ReceivedReply:
        self._screen.person(text)
        answer = await caller.send(text)
        self._screen.agent(answer.turn, answer.seconds)
        return answer

    async def _survive_a_kill(self, caller: Caller, texts: tuple[str, ...]) -> ReceivedReply:
        """Send the messages, and kill the worker in the middle of the first reply that takes long enough."""
        killed: ReceivedReply | None = None
        self._screen.stage("Its worker is killed in the middle of a reply")
        for text in texts:
            if killed:
                await self._say(caller, text)
            else:
                killed = await self._say_and_kill(caller, text)
        if killed is None:
            raise DemoFailed("no reply took long enough to kill its worker in the middle of it")
        return killed

    async def _say_and_kill(self, caller: Caller, text: str) -> ReceivedReply | None:
        """Send a message and kill the worker during the reply. Returns the reply; None if it was faster."""
        worker = self._stack.worker
        self._screen.person(text)
        saying = asyncio.create_task(caller.send(text))
        try:
            if not await self._is_in_the_making(caller, saying):
                answer = await saying
                self._screen.agent(answer.turn, answer.seconds)
                return None
            await worker.kill()
            at = monotonic()
            in_the_middle = await self._reply_age(caller) is not None
            if in_the_middle:
                self._screen.event(f"kill -9 {worker.pid}: the worker is killed in the middle of its reply")
            else:
                self._screen.note("(the reply was finished before the worker was killed; trying the next one)")
            worker = await self._stack.start_worker()
            self._screen.event(f"a new worker is started, process {worker.pid}")
            answer = await saying
        finally:
            saying.cancel()
        self._screen.agent(answer.turn, answer.seconds)
        if in_the_middle:
            self._screen.event(f"the reply arrived {monotonic() - at:.1f} s after the kill; the caller only waited")
        return answer if in_the_middle else None

    async def _is_in_the_making(self, caller: Caller, saying: "asyncio.Task[ReceivedReply]") -> bool:
        """Wait until a model call is MIN_REPLY_AGE old according to Temporal. Returns False if the reply came first."""
        while not saying.done():
            age = await self._reply_age(caller)
            if age is not None and age >= MIN_REPLY_AGE:
                return True
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        return False

    async def _reply_age(self, caller: Caller) -> timedelta | None:
        """The age of the running model call according to Temporal; None when there is none."""
        described = await self._handle(caller).describe()
        for pending in described.raw_description.pending_activities:
            started = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            if started and pending.activity_type.name == "generate_step":
                return datetime.now(UTC) - pending.last_started_time.ToDatetime(UTC)
        return None

    async def _repeat(self, caller: Caller, answer: ReceivedReply) -> None:
        self._screen.stage("The same message again: same message_id, no second turn")
        turns, revision = len(caller.session.turns), caller.session.revision
        text = answer.turn.user_message.text if answer.turn.user_message else ""
        again = await caller.send(text, answer.message_id)
        now = await caller.refresh()
        if again.turn.id != answer.turn.id or len(now.turns) != turns or now.revision != revision:
            raise DemoFailed(
                f"the message {answer.message_id} was sent again and changed the session: turn {answer.turn.id} became "
                f"{again.turn.id}, {turns} turns became {len(now.turns)}, revision {revision} became {now.revision}"
            )
        self._screen.note(
            f"{answer.message_id} is answered with {again.turn.id} as before, after {again.seconds:.2f} s; "
            f"still {turns} turns and revision {revision}"
        )

    async def _take_another_branch(self, caller: Caller, turn: Turn) -> None:
        self._screen.stage("Rewind to the greeting, and another branch")
        rewound = await caller.rewind(turn)
        self._screen.note(f"rewound to {turn.id}: status {rewound.status}, {len(rewound.turns)} turn is visible")
        for text in CANCELLATION:
            answer = await self._say(caller, text)
            if answer.session.is_completed:
                break
        self._screen.note(f"{len(caller.session.discarded_branches)} branch was discarded, and is kept")

    async def _close(self, caller: Caller) -> Evidence:
        self._screen.stage("The end, and every turn of the session as a tree")
        ended_by_agent = caller.session.is_completed
        await caller.end()
        await self._until_closed(caller)
        session = await caller.refresh()
        self._screen.note(
            f"{'the agent ended the session' if ended_by_agent else 'the session is ended'} "
            f"({session.completion_reason}); everything is settled, the workflow is closed"
        )
        self._screen.tree(session)
        return await gather(
            caller.answered,
            session_id=session.id,
            client=self._stack.client,
            handle=self._handle(caller),
            database=self._stack.database,
            http=self._stack.http,
        )

    async def _until_closed(self, caller: Caller) -> None:
        """Wait until the workflow closes, which it does once everything is settled."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._handle(caller).result()
        except TimeoutError:
            raise DemoFailed(f"the session was not settled and closed within {CLOSE_SECONDS:g} seconds") from None

    def _handle(self, caller: Caller) -> "WorkflowHandle[SessionWorkflow, SessionResult]":
        return self._stack.client.get_workflow_handle_for(
            SessionWorkflow.run, workflow_id=session_workflow_id(caller.session.id)
        )


async def _session(response: httpx2.Response) -> ChatSession:
    if not response.is_success:
        problem = response.json() if "json" in response.headers.get("content-type", "") else {}
        detail = problem.get("detail") or response.text[:400]
        raise DemoFailed(f"{response.request.method} {response.url.path} answered {response.status_code}: {detail}")
    return ChatSession.model_validate_json(response.content)
