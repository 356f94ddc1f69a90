"""The HTTP client of the command line: the API's routes as methods, its refusals as failed commands."""

import json
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx

from playhead.environment import API_KEY, API_URL, DEFAULT_API_URL
from playhead.failures import FINDING, UNREACHABLE, USAGE, CommandFailed

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0
"""How long a call may take: longer than the API waits for a reply before it answers 504."""
PAGE = 100
Json = dict[str, Any]


class UserMessageBody(TypedDict):
    """What a person said."""

    text: str
    created_at: str
    message_id: str | None


class AssistantMessageBody(TypedDict):
    """What the agent answered."""

    text: str
    created_at: str


class EventBody(TypedDict):
    """Something that happened while a turn was answered."""

    type: str
    created_at: str
    payload: Json


class CostBody(TypedDict):
    """Money, as decimal strings."""

    currency: str
    total: str
    breakdown: dict[str, str]
    unpriced_models: list[str]


class TurnBody(TypedDict):
    """One turn as the API shows it."""

    id: str
    parent_id: str | None
    index: int
    status: str
    created_at: str
    user_message: UserMessageBody | None
    assistant_message: AssistantMessageBody | None
    events: list[EventBody]
    usage: Json
    cost: CostBody
    node_id: str | None
    error: str | None


class BranchBody(TypedDict):
    """A discarded branch, with its turns, oldest first."""

    id: str
    rewound_from_turn_id: str | None
    discarded_at: str
    turns: list[TurnBody]


class SessionBody(TypedDict):
    """A session as the API shows it. Lists leave the turns out."""

    id: str
    agent_id: str
    agent_version: int
    model: str
    name: str
    status: str
    revision: int
    cursor_turn_id: str | None
    current_node_id: str
    is_completed: bool
    completion_reason: str | None
    initial_context: Json
    gathered_context: Json
    usage: Json
    cost: CostBody
    turns: NotRequired[list[TurnBody]]
    turns_before: NotRequired[int]
    discarded_branches: NotRequired[list[BranchBody]]
    created_at: str
    updated_at: str
    as_of: str
    temporal: Json


class AgentBody(TypedDict):
    """A version of an agent as the API shows it."""

    id: str
    name: str
    version: int
    workflow_id: int
    definition: Json
    warnings: list[str]
    created_at: str


class PageBody(TypedDict):
    """A page of a list."""

    items: list[Any]
    next_cursor: str | None


Body = TypeVar("Body")


class ApiRefused(CommandFailed):
    """The API answered with a problem. `code` is stable; `problem` has its figures."""

    def __init__(self, response: httpx.Response) -> None:
        self.problem = _problem_in(response)
        self.code = str(self.problem.get("code", "unknown"))
        self.http_status = response.status_code
        faults = "".join(_fault_line(fault) for fault in self.problem.get("errors") or ())
        detail = self.problem.get("detail") or self.problem.get("title") or f"HTTP status {response.status_code}"
        super().__init__(f"{detail}{faults}", status=self._exit_status(), hint=_HINTS.get(self.code))

    def _exit_status(self) -> int:
        if self.http_status >= 500 or self.http_status == 429:
            return UNREACHABLE
        findings = {"invalid_agent", "idempotency_mismatch", "revision_conflict", "session_ended", "turn_in_progress"}
        return FINDING if self.code in findings else USAGE


_HINTS = {
    "unauthenticated": f"Set {API_KEY} to a key of this API; `playhead keys create NAME` makes one on its machine.",
    "revision_conflict": "Somebody changed the session meanwhile. Look at it again, then repeat the command.",
    "turn_in_progress": "A reply is being generated. Repeat the command when it is there.",
    "unavailable": "Nothing was accepted. Repeat the command when the service is back.",
    "wait_timeout": "The turn goes on; look at the session in a while.",
}


class ApiClient:
    """Calls one API. Raises ApiRefused for its problems, CommandFailed when it cannot be reached."""

    def __init__(self, url: str, key: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandFailed(
                f"{API_URL} is set to {url!r}, which is no address of an API.",
                status=USAGE,
                hint=f"It must look like {DEFAULT_API_URL}.",
            )
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)),
            # A proxy of the environment is for the world, not for this machine.
            trust_env=parts.hostname not in ("127.0.0.1", "::1", "localhost"),
        )

    @classmethod
    def of_environment(cls, *, seconds: float = ANSWER_SECONDS) -> Self:
        """The API that PLAYHEAD_API_URL names, with PLAYHEAD_API_KEY."""
        return cls(os.environ.get(API_URL) or DEFAULT_API_URL, os.environ.get(API_KEY) or None, seconds=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def push_agent(self, definition: bytes, form: Literal["json", "yaml"], **query: str) -> AgentBody:
        """Store a definition as the newest version of its agent; `query` is that of `POST /v1/agents`."""
        content = {"Content-Type": f"application/{form}"}
        return cast(AgentBody, self._call("POST", "/v1/agents", query=query, content=definition, headers=content))

    def agents(self, *, limit: int | None = None) -> Iterator[AgentBody]:
        """The newest version of every agent."""
        return cast(Iterator[AgentBody], self._pages("/v1/agents", {}, limit))

    def agent(self, agent: str, version: int | None = None) -> AgentBody:
        """An agent by id or name: the newest version, or the one named."""
        path = f"/v1/agents/{_quoted(agent)}"
        return cast(AgentBody, self._call("GET", path if version is None else f"{path}/versions/{version}"))

    def create_session(self, agent: str, **fields: object) -> SessionBody:
        """Start a session and wait for the agent's greeting. `fields` are those of `POST /v1/sessions`."""
        return cast(SessionBody, self._call("POST", "/v1/sessions", body={"agent": agent, **fields}))

    def sessions(self, *, limit: int | None = None, **filters: str | None) -> Iterator[SessionBody]:
        """Sessions, newest first, by `status`, `agent`, `suite` or `created_after`."""
        chosen = {name: value for name, value in filters.items() if value is not None}
        return cast(Iterator[SessionBody], self._pages("/v1/sessions", chosen, limit))

    def session(self, session_id: str) -> SessionBody:
        """A session with its visible branch and its discarded branches."""
        return cast(SessionBody, self._call("GET", _session(session_id)))

    def turns(self, session_id: str) -> list[TurnBody]:
        """Every turn of the visible branch, oldest first; the API pages back from the newest."""
        pages: list[list[TurnBody]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._page(f"{_session(session_id)}/turns", {"limit": str(PAGE), "cursor": cursor})
            pages.append(page["items"])
            cursor = page["next_cursor"]
        return [turn for page in reversed(pages) for turn in page]

    def send_message(self, session_id: str, text: str, *, message_id: str, **fields: object) -> SessionBody:
        """Say something and wait for the reply. The same `message_id` again gives the same answer."""
        body = {"text": text, "message_id": message_id, **fields}
        return cast(SessionBody, self._call("POST", f"{_session(session_id)}/messages", body=body))

    def rewind(
        self, session_id: str, turn_id: str | None, *, before: bool = False, expected_revision: int | None = None
    ) -> SessionBody:
        """Point the cursor at a turn, or before it; None clears the cursor."""
        body: Json = {"turn_id": turn_id, "before": before}
        if expected_revision is not None:
            body["expected_revision"] = expected_revision
        return cast(SessionBody, self._call("POST", f"{_session(session_id)}/rewind", body=body))

    def end(self, session_id: str, reason: str | None = None) -> SessionBody:
        """End a session."""
        body = {} if reason is None else {"reason": reason}
        return cast(SessionBody, self._call("POST", f"{_session(session_id)}/end", body=body))

    def usage(self) -> Json:
        """What the organization used and spent in total."""
        return cast(Json, self._call("GET", "/v1/usage"))

    def _pages(self, path: str, query: Mapping[str, str], limit: int | None) -> Iterator[Any]:
        cursor: str | None = ""
        left = limit
        while cursor is not None and (left is None or left > 0):
            size = PAGE if left is None else min(left, PAGE)
            page = self._page(path, {**query, "limit": str(size), "cursor": cursor})
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next_cursor"]

    def _page(self, path: str, query: Mapping[str, str]) -> PageBody:
        set_only = {name: value for name, value in query.items() if value}
        return cast(PageBody, self._call("GET", path, query=set_only))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> object:
        try:
            response = self._http.request(method, path, params=query, json=body, content=content, headers=headers)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise ApiRefused(response)
        try:
            return cast(object, response.json())
        except json.JSONDecodeError as error:
            raise CommandFailed(
                f"What answers at {self.url} is not the Playhead API: {method} {path} gave no JSON.",
                status=UNREACHABLE,
                hint=f"Set {API_URL} to the address of the API.",
            ) from error

    def _unreachable(self, error: httpx.TransportError) -> CommandFailed:
        slow = isinstance(error, httpx.TimeoutException)
        return CommandFailed(
            f"The API at {self.url} {'did not answer in time' if slow else 'cannot be reached'}: {error}.",
            status=UNREACHABLE,
            hint=f"Start it with `playhead dev`, or set {API_URL} to where it is.",
        )


def _session(session_id: str) -> str:
    return f"/v1/sessions/{_quoted(session_id)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _problem_in(response: httpx.Response) -> Json:
    try:
        problem = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _fault_line(fault: object) -> str:
    if not isinstance(fault, dict):
        return f"\n  {fault}"
    return f"\n  {fault.get('place', '')}: {fault.get('message', '')}"
