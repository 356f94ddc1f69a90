"""`playhead dev` as an operator uses it: with Temporal's own command line, and database files restored from backups."""

import base64
import json
import shutil
import subprocess
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from playhead.temporal.dev_server import server_program
from store.database.connection import Database
from store.database.tables import events
from tests.e2e.processes import DevStack, Ports, forked_dev_stack, until_seen
from tests.e2e.services import forked_playhead
from tests.operators.witnesses import witnesses_of
from tests.support.loop_thread import LoopThread
from tests.support.marked_words import MARK
from tests.support.provider import ModelProvider, ScriptedModel

Json = dict[str, Any]

TABLE = f"A table, please, by the {MARK}"
"""A message whose words must be in no log."""
MODELS = 200
"""Number of the provider's models with a price: each agent has a model of its own, and so a journal."""
PRICE = {"input": "1000", "output": "2000"}
_numbers = count(1)


class OperatedStack:
    """A running stack, its sessions over HTTP, and `temporal` against its server.

    Every session talks to a model of its own at `provider`, which repeats what the user said, unless it has a script.
    """

    def __init__(self, stack: DevStack, provider: ModelProvider, loop: LoopThread, database_url: str) -> None:
        self.stack = stack
        self.provider = provider
        self.loop = loop
        self.database_url = database_url

    def create(self, **definition: Any) -> str:
        """A new session with an agent and a model of its own, greeted. `definition` completes the agent."""
        agent, _ = self.push(**definition)
        return self.open(agent)

    def push(self, **definition: Any) -> tuple[str, ScriptedModel]:
        """A new agent with a model of its own."""
        number = next(_numbers)
        agent = {
            "name": f"clerk-{number}",
            "model": f"openai-chat:clerk-{number}",
            "start": "talk",
            "nodes": {"talk": {"prompt": "Answer."}},
            **definition,
        }
        assert number <= MODELS
        response = self.stack.http.post("/v1/agents", json=agent)
        assert response.status_code == 201, response.text
        return str(agent["name"]), self.provider.model(f"clerk-{number}")

    def open(self, agent: str) -> str:
        """A new session with an agent, greeted."""
        response = self.stack.http.post("/v1/sessions", json={"agent": agent})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def model_of(self, session_id: str) -> ScriptedModel:
        """The model that a session talks to, with its journal."""
        return self.provider.model(self.session(session_id)["model"].removeprefix("openai-chat:"))

    def say(self, session_id: str, text: str, message_id: str | None = None) -> Json:
        """The session after the reply to a message."""
        body = {"text": text, "message_id": message_id or f"msg_{uuid4().hex}"}
        response = self.stack.http.post(f"/v1/sessions/{session_id}/messages", json=body)
        assert response.status_code == 200, response.text
        session: Json = response.json()
        return session

    def say_on(self, day: str, session_id: str, text: str) -> None:
        """Send a message with another value of the variable `day`, as OpenAI clients send other system messages."""
        message = {"text": text, "options": {"context": {"day": day}}}
        command = ("execute", "-w", f"session-{session_id}", "--name", "send_message", "--input", json.dumps(message))
        self.workflow("update", *command)

    def session(self, session_id: str) -> Json:
        response = self.stack.http.get(f"/v1/sessions/{session_id}")
        assert response.status_code == 200, response.text
        session: Json = response.json()
        return session

    def workflow(self, command: str, *options: str) -> str:
        """Run `temporal workflow COMMAND` and return what it printed."""
        return self.temporal("workflow", command, *options)

    def temporal(self, *command: str) -> str:
        """Run a `temporal` command against the stack's server and return what it printed."""
        done = subprocess.run(
            [str(server_program()), *command, "--address", self.temporal_address],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reset(self, session_id: str, *options: str) -> None:
        """Run `temporal workflow reset` on a session."""
        self.workflow("reset", "-w", f"session-{session_id}", "--reason", "test", *options)

    def activity(self, command: str, session_id: str, activity_type: str, *options: str) -> None:
        """Run `temporal activity COMMAND` on the pending activity of a session of a type."""
        activity = self.pending_activity(session_id, activity_type)
        options = ("-a", activity["activityId"], "-w", f"session-{session_id}", *options)
        self.temporal("activity", command, *options)

    def pending_activity(self, session_id: str, activity_type: str) -> Json:
        """The pending activity of a session of a type, as `temporal workflow describe` shows it."""
        found: list[Json] = []

        def is_there() -> bool:
            pending = self.described(f"session-{session_id}").get("pendingActivities", [])
            found[:] = [each for each in pending if each["activityType"]["name"] == activity_type]
            return bool(found)

        until_seen(is_there, lambda: f"no {activity_type} is pending")
        return found[0]

    def task_before(self, session_id: str, event_type: str) -> int:
        """The id of the last completed workflow task before the first event of a type."""
        history = json.loads(self.workflow("show", "-w", f"session-{session_id}", "-o", "json"))["events"]
        types = [event["eventType"] for event in history]
        before = types[: types.index(event_type)]
        return len(before) - before[::-1].index("EVENT_TYPE_WORKFLOW_TASK_COMPLETED")

    @contextmanager
    def saying(self, session_id: str, text: str) -> Iterator["Future[Json]"]:
        """A message under way while the block runs; its result is the session after the reply."""
        with ThreadPoolExecutor(1) as threads:
            yield threads.submit(self.say, session_id, text)

    @property
    def temporal_address(self) -> str:
        return f"127.0.0.1:{self.stack.ports.temporal}"

    def input_of(self, session_id: str, file: Path) -> Path:
        """The input of a session's workflow, in a file for `temporal workflow start --input-file`."""
        history = json.loads(self.workflow("show", "-w", f"session-{session_id}", "-o", "json"))
        started = history["events"][0]["workflowExecutionStartedEventAttributes"]
        file.write_bytes(base64.b64decode(started["input"]["payloads"][0]["data"]))
        return file

    def start_copy(self, workflow_id: str, input_file: Path) -> str:
        """Start a session workflow by hand; returns how it closed."""
        options = ("--type", "Session", "--task-queue", "playhead", "--input-file", str(input_file))
        self.workflow("start", "-w", workflow_id, *options)
        until_seen(lambda: self.status(workflow_id) != "WORKFLOW_EXECUTION_STATUS_RUNNING", lambda: "it still runs")
        return self.status(workflow_id)

    def status(self, workflow_id: str) -> str:
        """The status of the newest run of a workflow."""
        return str(self.described(workflow_id)["workflowExecutionInfo"]["status"])

    def described(self, workflow_id: str) -> Json:
        """The newest run of a workflow, as `temporal workflow describe` shows it."""
        described: Json = json.loads(self.workflow("describe", "-w", workflow_id, "-o", "json"))
        return described

    def logged(self, session_id: str) -> list[tuple[str, Json]]:
        """The session's event log in the store: type and payload of each event."""
        rows = select(events.c.type, events.c.payload).where(events.c.session_id == session_id)

        async def read() -> list[tuple[str, Json]]:
            database = Database.open(self.database_url)
            try:
                found = await database.read(
                    lambda connection: connection.execute(rows.order_by(events.c.sequence)).all()
                )
            finally:
                await database.aclose()
            return [(row.type, row.payload) for row in found]

        return self.loop.run(read())

    def ledger(self, session_id: str) -> list[Json]:
        """The ledger rows of a session."""
        response = self.stack.http.get("/v1/usage/ledger", params={"limit": "200", "session": session_id})
        rows: list[Json] = response.json()["items"]
        return rows

    def requests_billed(self, session_id: str) -> int:
        """Model calls in the session's ledger rows."""
        return sum(_requests(row["usage"]) for row in self.ledger(session_id))

    def _requests_billed_of_own_model(self, session_id: str) -> int:
        """Model calls in the session's ledger rows without those of a simulated user or a judge."""
        name = self.session(session_id)["model"].partition(":")[2]
        used = [row["usage"]["llm"] for row in self.ledger(session_id)]
        return sum(each["requests"] for llm in used for key, each in llm.items() if key.endswith(f":{name}"))

    def until_agreed(self, session_id: str, at_least: int) -> Json:
        """The session, once its usage and the ledger count the same number of model calls, and at least `at_least`."""

        def agree() -> bool:
            used = _requests(self.session(session_id)["usage"])
            return used == self.requests_billed(session_id) >= at_least

        until_seen(agree, lambda: f"{self.session(session_id)['usage']} against {self.ledger(session_id)}")
        return self.session(session_id)

    def reconcile(self, *options: str) -> tuple[int, Json]:
        """Run `playhead reconcile`, and return its exit status and its result."""
        done = forked_playhead(
            self.stack.folder,
            "reconcile",
            "--json",
            "--min-age=0",
            *options,
            PLAYHEAD_DATABASE_URL=self.database_url,
            TEMPORAL_ADDRESS=self.temporal_address,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def compare(
        self,
        session_id: str,
        *,
        all_in_temporal: bool = True,
        by_hand: Collection[str] = (),
        lost: int = 0,
        beside: Collection[str] = (),
    ) -> Json:
        """The session, once the provider's journal, Temporal's histories, the store and the ledger agree on it.

        Every test ends with this. Raises AssertionError with what they still disagree on. `all_in_temporal` is false
        where histories were lost: the database of Temporal was set back, or runs were deleted. `by_hand` are replies
        that the operator wrote. `lost` calls are in the provider's journal alone: both databases were set back.
        `beside` are other sessions with the same model: calls that are billed to them are not counted.
        """
        journal = self.model_of(session_id).journal
        found: list[str] = []
        theirs = 0

        async def differences() -> list[str]:
            async with witnesses_of(self.database_url, self.temporal_address, self.stack.http) as all_of:
                # A call that broke off is not billed.
                answered = [asked for asked in journal if not asked.is_hung_up]
                requests = len(answered) - lost - theirs
                return await all_of.differences(session_id, requests, all_in_temporal=all_in_temporal, by_hand=by_hand)

        def agree() -> bool:
            nonlocal theirs
            theirs = sum(self._requests_billed_of_own_model(other) for other in beside)
            found[:] = self.loop.run(differences())
            return not found

        until_seen(agree, lambda: "\n".join(found))
        return self.session(session_id)


@contextmanager
def operated_stack(
    folder: Path,
    provider: ModelProvider,
    loop: LoopThread,
    *,
    ports: Ports | None = None,
    database_url: str | None = None,
    **variables: str,
) -> Iterator[OperatedStack]:
    """A stack on the files of a folder, or on the database at a URL, ready, while the block runs."""
    url = database_url or f"sqlite:///{folder / 'data' / 'playhead.db'}"
    with forked_dev_stack(folder, ports, **environment_of_stack(provider, url, **variables)) as stack:
        stack.until_ready()
        yield OperatedStack(stack, provider, loop, url)


def environment_of_stack(provider: ModelProvider, database_url: str, **variables: str) -> dict[str, str]:
    """The environment of a stack's processes: its models are the provider's, and have prices."""
    prices = {f"openai-chat:clerk-{number}": PRICE for number in range(1, MODELS + 1)}
    return {
        "OPENAI_API_KEY": "a key of the tests",
        "OPENAI_BASE_URL": provider.base_url,
        "PLAYHEAD_DATABASE_URL": database_url,
        "PLAYHEAD_MODEL": "demo",
        "PLAYHEAD_CREDENTIALS": json.dumps({"HOOK": "whsec_dGhlIGtleSBvZiBhIHRlc3Qgd2ViaG9vayEh"}),
        "PLAYHEAD_EGRESS_ALLOWLIST": "127.0.0.1",
        "PLAYHEAD_PRICES": json.dumps(prices),
        # Every test waits until its turns are settled.
        "PLAYHEAD_SETTLEMENT_DELAY_SECONDS": "0.2",
        **variables,
    }


def copied(folder: Path, names: str, to: Path) -> None:
    """Copy a database file and the files that belong to it, as a backup of a stopped stack does."""
    to.mkdir(parents=True, exist_ok=True)
    for file in (folder / "data").glob(f"{names}*"):
        shutil.copy2(file, to / file.name)


def restored(backup: Path, names: str, folder: Path) -> None:
    """Replace the files of a database with those of a backup."""
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    for file in (folder / "data").glob(f"{names}*"):
        file.unlink()
    for file in backup.glob(f"{names}*"):
        shutil.copy2(file, folder / "data" / file.name)


def texts(session: Json) -> list[str | None]:
    """The user's messages on the visible branch; None for the greeting."""
    return [turn["user_message"]["text"] if turn["user_message"] else None for turn in session["turns"]]


def _requests(usage: Json) -> int:
    return sum(model["requests"] for model in usage["llm"].values())
