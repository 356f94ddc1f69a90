"""A client like dograh's own page: it keeps the last response, and sends its revision with every command."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.api.dograh.dental import dental_export
from tests.support.running_api import Caller, Json, done
from tests.support.waiting import eventually

SEEN_ELSEWHERE = {"id", "workflow_run_id", "workflow_id", "definition_id"}
TURN = re.compile(r"turn_[0-9a-f]{12}")
CALL = re.compile(r'"call_[0-9a-f]{8}"')
NAME = re.compile(r"WR-TEXT-[A-Z0-9]{6}")
MOMENT = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*"')
SECONDS = re.compile(r'("call_duration_seconds": )\d+(?=[,}])')


@dataclass
class Panel:
    """The panel in which a person tries an agent out; `shown` is the session as last returned."""

    caller: Caller
    workflow_id: int
    shown: Json

    @classmethod
    async def open(cls, caller: Caller, workflow_id: int, **fields: object) -> "Panel":
        """Open a text chat."""
        return cls(caller, workflow_id, done(await caller.post(chats_of(workflow_id), fields), 200))

    @property
    def path(self) -> str:
        return f"{chats_of(self.workflow_id)}/{self.shown['workflow_run_id']}"

    @property
    def revision(self) -> int:
        return int(self.shown["revision"])

    @property
    def data(self) -> Json:
        data: Json = self.shown["session_data"]
        return data

    @property
    def turns(self) -> list[Json]:
        turns: list[Json] = self.data["turns"]
        return turns

    @property
    def said(self) -> list[tuple[str | None, str | None]]:
        """The user's and the agent's message of each listed turn."""
        sides = [(turn["user_message"], turn["assistant_message"]) for turn in self.turns]
        return [(user and user["text"], agent and agent["text"]) for user, agent in sides]

    async def send(self, text: str) -> Json:
        """Say something."""
        return self._keep(await self.post("messages", text=text, expected_revision=self.revision))

    async def take_back(self, turn: Json) -> Json:
        """Rewind to the turn before one."""
        predecessor = self.turns[self.turns.index(turn) - 1]["id"]
        return self._keep(await self.post("rewind", cursor_turn_id=predecessor, expected_revision=self.revision))

    async def end(self) -> Json:
        """Hang up."""
        return self._keep(await self.post("end", expected_revision=self.revision))

    async def reload(self) -> Json:
        """Read the session again."""
        return self._keep(await self.caller.get(self.path))

    async def run(self) -> Json:
        """The run, as the page of runs shows it."""
        path = f"/api/v1/workflow/{self.workflow_id}/runs/{self.shown['workflow_run_id']}"
        return done(await self.caller.get(path), 200)

    async def post(self, command: str, **body: object) -> httpx2.Response:
        """Send a command as given."""
        return await self.caller.post(f"{self.path}/{command}", body)

    async def session_id(self) -> str:
        """The id of the session in `/v1`, once it is listed there."""

        async def listed() -> list[Json]:
            sessions = await self.caller.items("/v1/sessions")
            return [each for each in sessions if each["workflow_run_id"] == self.shown["workflow_run_id"]]

        return str((await eventually(listed))[0]["id"])

    def _keep(self, response: httpx2.Response) -> Json:
        self.shown = done(response, 200)
        return self.shown


def chats_of(workflow_id: int) -> str:
    """The address of an agent's text chats."""
    return f"/api/v1/workflow/{workflow_id}/text-chat/sessions"


async def imported(caller: Caller, model: str, **of_start_node: object) -> int:
    """Import the dental practice's export to run on this model; returns its `workflow_id`."""
    agent = done(await caller.post("/v1/agents", dental_export(**of_start_node), format="dograh", name="dental"), 201)
    spoken_by = await caller.push({**agent["definition"], "model": model})
    return int(spoken_by["workflow_id"])


def plain(answer: Json) -> Any:
    """A response without what differs from run to run: turn ids as `turn 0`, `turn 1` in order of appearance, times as
    `then`, call ids as `a call`, generated names and durations as zeros; the ids of session and agent are left out."""
    text = json.dumps({name: value for name, value in answer.items() if name not in SEEN_ELSEWHERE})
    for number, turn_id in enumerate(dict.fromkeys(TURN.findall(text))):
        text = text.replace(turn_id, f"turn {number}")
    for moment in MOMENT.findall(text):
        assert datetime.fromisoformat(json.loads(moment)).tzinfo
    for pattern, instead in ((MOMENT, '"then"'), (NAME, "WR-TEXT-000000"), (CALL, '"a call"'), (SECONDS, r"\g<1>0")):
        text = pattern.sub(instead, text)
    return json.loads(text)


def documented(name: str) -> Any:
    """The expected response, from the folder `answers`."""
    return json.loads((Path(__file__).parent / "answers" / f"{name}.json").read_text())
