"""The demo's story: a call is answered, its worker is killed, it is rewound and takes another way."""

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
from playhead.demo.audit import Evidence, Words
from playhead.demo.evidence import gather, words_of
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
CANCELLING = (
    "Good evening. I am afraid I have to cancel a booking.",
    "It is for Friday, under the name Rossi.",
    "Yes, please cancel it.",
    "No, that is all. Thank you, goodbye!",
)
INTO_THE_REPLY = timedelta(seconds=0.1)
"""How long a reply must have been in the making before its worker is killed: longer than a step without words takes."""
PROBE_INTERVAL = 0.02
CLOSE_SECONDS = 60.0
"""How long the session may take to be settled and closed after its end."""


class ReceivedReply(NamedTuple):
    """What a message was answered with. `session` is the session right after it, `seconds` how long it took."""

    turn: Turn
    session: ChatSession
    message_id: str
    seconds: float


class Caller:
    """The person of the demo: talks to one session over HTTP, and keeps what was answered."""

    def __init__(self, http: httpx2.AsyncClient, session: ChatSession) -> None:
        self._http = http
        self.session = session
        self.said: dict[str, Words] = {turn.id: words_of(turn) for turn in session.turns}

    @classmethod
    async def call(cls, http: httpx2.AsyncClient, agent: str) -> "Caller":
        """Open a session; the agent has greeted when this returns."""
        return cls(http, await _session(await http.post("/v1/sessions", json={"agent": agent})))

    async def say(self, text: str, message_id: str | None = None) -> ReceivedReply:
        """Say something and wait for the reply. Raises DemoFailed when the API refuses or the model fails."""
        message_id = message_id or f"msg_{uuid4().hex[:12]}"
        began = monotonic()
        body = {"text": text, "message_id": message_id}
        self.session = await _session(await self._http.post(self._path("messages"), json=body))
        turn = self.session.turn_of(message_id)
        if turn is None:
            raise DemoFailed(f"the answer to {text!r} is not in the session that came with it")
        self.said[turn.id] = words_of(turn)
        return ReceivedReply(turn, self.session, message_id, monotonic() - began)

    async def rewind(self, turn: Turn) -> ChatSession:
        """Go back to a turn."""
        self.session = await _session(await self._http.post(self._path("rewind"), json={"turn_id": turn.id}))
        return self.session

    async def end(self) -> ChatSession:
        """End the session, if the agent has not done so already."""
        self.session = await _session(await self._http.post(self._path("end"), json={}))
        return self.session

    async def look(self) -> ChatSession:
        """The session as it is now."""
        self.session = await _session(await self._http.get(self._path()))
        return self.session

    def _path(self, command: str = "") -> str:
        return f"/v1/sessions/{self.session.id}{f'/{command}' if command else ''}"


class DemoScenario:
    """The stages of the demo, in their order."""

    def __init__(self, stack: "DemoStack", screen: "Screen") -> None:
        self._stack = stack
        self._screen = screen

    async def tell(self) -> Evidence:
        """Hold the whole conversation and gather what every witness says about it."""
        self._screen.stage("The call is answered")
        caller = await Caller.call(self._stack.http, AGENT)
        greeting = caller.session.turns[0]
        workflow_id = session_workflow_id(caller.session.id)
        self._screen.note(f"workflow {workflow_id}, worker process {self._stack.worker.pid}")
        self._screen.agent(greeting)
        first, second, *others = BOOKING
        await self._say(caller, first)
        answered = await self._survive_a_kill(caller, (second, *others))
        await self._repeat(caller, answered)
        await self._take_another_way(caller, greeting)
        return await self._close(caller)

    async def _say(self, caller: Caller, text: str) -> ReceivedReply:
        self._screen.person(text)
        answer = await caller.say(text)
        self._screen.agent(answer.turn, answer.seconds)
        return answer

    async def _survive_a_kill(self, caller: Caller, texts: tuple[str, ...]) -> ReceivedReply:
        """Say the texts, and kill the worker in the middle of the first reply that takes long enough for it."""
        killed: ReceivedReply | None = None
        self._screen.stage("Its worker is killed in the middle of a reply")
        for text in texts:
            if killed:
                await self._say(caller, text)
            else:
                killed = await self._say_and_kill(caller, text)
        if killed is None:
            raise DemoFailed("no reply took long enough for its worker to be killed in the middle of it")
        return killed

    async def _say_and_kill(self, caller: Caller, text: str) -> ReceivedReply | None:
        """The answer, if it was in the making when the worker died; None if the answer was faster."""
        worker = self._stack.worker
        self._screen.person(text)
        saying = asyncio.create_task(caller.say(text))
        try:
            if not await self._is_in_the_making(caller, saying):
                answer = await saying
                self._screen.agent(answer.turn, answer.seconds)
                return None
            await worker.kill()
            at = monotonic()
            in_the_middle = await self._reply_age(caller) is not None
            if in_the_middle:
                self._screen.event(f"kill -9 {worker.pid}: that was the worker, in the middle of its reply")
            else:
                self._screen.note("(the reply was just finished when the worker was killed; the next one, then)")
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
        """Wait until Temporal tells that a model call has been running for a moment; False if the reply came first."""
        while not saying.done():
            age = await self._reply_age(caller)
            if age is not None and age >= INTO_THE_REPLY:
                return True
            await asyncio.sleep(PROBE_INTERVAL)
        return False

    async def _reply_age(self, caller: Caller) -> timedelta | None:
        """How long ago the model call that runs now was started, by Temporal; None when none runs."""
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
        again = await caller.say(text, answer.message_id)
        now = await caller.look()
        if again.turn.id != answer.turn.id or len(now.turns) != turns or now.revision != revision:
            raise DemoFailed(
                f"the message {answer.message_id} was sent again and changed the session: turn {answer.turn.id} became "
                f"{again.turn.id}, {turns} turns became {len(now.turns)}, revision {revision} became {now.revision}"
            )
        self._screen.note(
            f"{answer.message_id} is answered with {again.turn.id} as before, after {again.seconds:.2f} s; "
            f"still {turns} turns and revision {revision}"
        )

    async def _take_another_way(self, caller: Caller, turn: Turn) -> None:
        self._screen.stage("Rewind to the greeting, and another way through the call")
        rewound = await caller.rewind(turn)
        self._screen.note(f"rewound to {turn.id}: status {rewound.status}, {len(rewound.turns)} turn is seen")
        for text in CANCELLING:
            answer = await self._say(caller, text)
            if answer.session.is_completed:
                break
        self._screen.note(f"{len(caller.session.discarded_branches)} branch was discarded, and is kept")

    async def _close(self, caller: Caller) -> Evidence:
        self._screen.stage("The end, and every turn of the session as a tree")
        ended_by_agent = caller.session.is_completed
        await caller.end()
        await self._until_closed(caller)
        session = await caller.look()
        self._screen.note(
            f"{'the agent ended the session' if ended_by_agent else 'the session is ended'} "
            f"({session.completion_reason}); everything is settled, the workflow is closed"
        )
        self._screen.tree(session)
        return await gather(
            caller.said,
            session_id=session.id,
            client=self._stack.client,
            handle=self._handle(caller),
            database=self._stack.database,
            http=self._stack.http,
        )

    async def _until_closed(self, caller: Caller) -> None:
        """A session's workflow closes when everything in it is settled, and not before."""
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
