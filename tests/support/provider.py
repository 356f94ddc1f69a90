"""A model provider for tests: OpenAI's chat protocol over real HTTP, with scripted replies, faults and a journal.

    async with model_provider() as provider:
        model = provider.model("clerk")
        model.script(ErrorReply(429, retry_after=0.1), TextReply("Hello."))
        ...  # the code under test talks to the model `model.string`, with OPENAI_BASE_URL = provider.base_url
        assert len(model.journal) == 2

Every model name has a script of its own, answered in order; after it the model repeats what the user said. The
journal holds every request that came in: an independent record of which model calls were made, and how often.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from tests.support.wire_format import Stream, completion, delta, read_request, tool_calls_of

PATIENCE = 30.0
"""Seconds that tests wait for a request, and a held reply for its release, before that counts as a failure."""


class Gate:
    """Holds a reply back: the test can wait for the request to arrive, and decides when it is answered."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._arrived = asyncio.Event()
        self._opened = asyncio.Event()
        self._patience = patience

    def open(self) -> None:
        """Release the held reply and all later ones."""
        self._opened.set()

    async def reached(self) -> None:
        """Wait until a request has reached the gate."""
        async with asyncio.timeout(self._patience):
            await self._arrived.wait()

    async def passed(self) -> None:
        """Note that a request has arrived, and wait until the gate opens."""
        self._arrived.set()
        async with asyncio.timeout(self._patience):
            await self._opened.wait()


@dataclass(frozen=True)
class TextReply:
    """An answer of text; empty text is a blank reply. The gate holds it back after its first half was sent.

    With `word_seconds` it comes word by word, at this pace.
    """

    text: str
    prompt_tokens: int = 11
    completion_tokens: int = 7
    gate: Gate | None = None
    word_seconds: float | None = None


@dataclass(frozen=True)
class ToolCallReply:
    """An answer that calls a tool, with its arguments as the model wrote them: JSON or not.

    `also` are further calls in the same answer; only their names and arguments count.
    """

    name: str
    arguments: str = "{}"
    text: str = ""
    gate: Gate | None = None
    also: "tuple[ToolCallReply, ...]" = ()


@dataclass(frozen=True)
class ErrorReply:
    """An HTTP error instead of an answer; `retry_after` is in seconds, `message` is the provider's text."""

    status: int
    retry_after: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class InterruptedReply:
    """The first half of an answer: then the connection is lost, or the stream ends as if it were complete.

    The gate holds the end back.
    """

    text: str = "An answer that is never heard in full."
    cleanly: bool = False
    gate: Gate | None = None


@dataclass(frozen=True)
class MalformedReply:
    """A stream with an event that is not JSON."""


@dataclass(frozen=True)
class NoReply:
    """Silence, until the client gives up."""


Reply = TextReply | ToolCallReply | ErrorReply | InterruptedReply | MalformedReply | NoReply


@dataclass(frozen=True)
class ProviderRequest:
    """One request: which model was asked, the body as it came, and when (in seconds of the event loop's clock)."""

    model: str
    body: dict[str, Any]  # Any: it is what another program wrote
    at: float
    _hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_hung_up(self) -> bool:
        """True when the client closed the connection before the answer was complete."""
        return self._hung_up.is_set()

    async def hung_up(self) -> None:
        """Wait until the client closes the connection in the middle of the answer."""
        async with asyncio.timeout(PATIENCE):
            await self._hung_up.wait()

    def note_hang_up(self) -> None:
        """Note that the client has closed the connection."""
        self._hung_up.set()

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The conversation as (role, text); a tool call reads as its name and arguments."""
        return [(message["role"], _text_of(message)) for message in self.body["messages"]]

    @property
    def instructions(self) -> str:
        """The instructions of the request."""
        return "\n".join(text for role, text in self.messages if role in ("system", "developer"))

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """The messages without the instructions."""
        return [(role, text) for role, text in self.messages if role not in ("system", "developer")]

    @property
    def tokens(self) -> int:
        """The tokens of the request as this provider counts them: one for three characters, three for each message."""
        return sum(len(text) // 3 + 3 for _, text in self.messages)

    @property
    def tools(self) -> list[str]:
        """The names of the tools on offer."""
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]


@dataclass
class ScriptedModel:
    """One model of the provider, with its script and its journal.

    With a `window` it reports the tokens of its requests, and rejects requests that are longer.
    """

    name: str
    window: int | None = None
    journal: list[ProviderRequest] = field(default_factory=list)
    _replies: deque[Reply] = field(default_factory=deque)

    @property
    def string(self) -> str:
        """The model string under which Playhead calls it."""
        return f"openai-chat:{self.name}"

    @property
    def unplayed(self) -> int:
        """The number of scripted replies that were not requested yet."""
        return len(self._replies)

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order."""
        self._replies.extend(replies)

    def reply_to(self, asked: ProviderRequest) -> Reply:
        """Add the request to the journal, and choose its reply."""
        self.journal.append(asked)
        if self.window is not None and asked.tokens > self.window:
            words = f"This model's maximum context length is {self.window} tokens. You asked for {asked.tokens}."
            return ErrorReply(400, message=words)
        reply = self._next_reply(asked)
        if self.window is not None and isinstance(reply, TextReply):
            return replace(reply, prompt_tokens=asked.tokens)
        return reply

    def _next_reply(self, asked: ProviderRequest) -> Reply:
        if self._replies:
            return self._replies.popleft()
        said = [text for role, text in asked.conversation if role == "user"]
        return TextReply(f"You said: {said[-1] if said else 'nothing'}")


class ModelProvider:
    """The provider: its address, and its models by name."""

    def __init__(self) -> None:
        self.base_url = ""
        self._models: dict[str, ScriptedModel] = {}
        self._taking = asyncio.Event()
        self._taking.set()
        self._open: set[asyncio.StreamReader] = set()

    def hold(self) -> None:
        """Accept no more requests: new ones wait, and are in no journal."""
        self._taking.clear()

    def release(self) -> None:
        """Accept requests again, including those that have waited."""
        self._taking.set()

    @property
    def waiting(self) -> int:
        """The number of connected clients that are served or wait. Requests of disconnected ones are not accepted."""
        return sum(not reader.at_eof() for reader in self._open)

    def model(self, name: str) -> ScriptedModel:
        """The model of this name, created on first use."""
        return self._models.setdefault(name, ScriptedModel(name))

    def add(self, model: ScriptedModel) -> None:
        """Add a model that the test has made, under its name."""
        self._models[model.name] = model

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request, one answer."""
        stream = Stream(writer)
        self._open.add(reader)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, stream)
        self._open.discard(reader)

    async def _serve(self, reader: asyncio.StreamReader, stream: Stream) -> None:
        path, body = await read_request(reader)
        if not path.endswith("/chat/completions"):
            await stream.fail(HTTPStatus.NOT_FOUND, f"There is nothing at {path}.")
            return
        if not await self._is_let_in(reader):
            return
        asked = ProviderRequest(model=body["model"], body=body, at=asyncio.get_running_loop().time())
        reply = self.model(asked.model).reply_to(asked)
        if isinstance(reply, TextReply | ToolCallReply) and not body.get("stream"):
            if reply.gate is not None:
                await reply.gate.passed()
            used = reply if isinstance(reply, TextReply) else TextReply("")
            answer = completion(reply.text, _calls_of(reply), used.prompt_tokens, used.completion_tokens)
            await stream.answer(answer)
        else:
            await self._give_unless_hung_up(reply, stream, reader, asked)

    async def _give_unless_hung_up(
        self, reply: Reply, stream: Stream, reader: asyncio.StreamReader, asked: ProviderRequest
    ) -> None:
        """Send the reply. If the client closes the connection before its end, stop and note that."""
        giving = asyncio.create_task(self._give(reply, stream))
        listening = asyncio.create_task(reader.read())
        try:
            await asyncio.wait((giving, listening), return_when=asyncio.FIRST_COMPLETED)
            if giving.done():
                await giving
            else:
                asked.note_hang_up()
        finally:
            giving.cancel()
            listening.cancel()
            await asyncio.gather(giving, listening, return_exceptions=True)

    async def _is_let_in(self, reader: asyncio.StreamReader) -> bool:
        """Wait until requests are accepted. True if the client is still connected then."""
        await self._taking.wait()
        return not reader.at_eof()

    async def _give(self, reply: Reply, stream: Stream) -> None:
        match reply:
            case ErrorReply():
                message = reply.message or f"Scripted to refuse with {reply.status}."
                await stream.fail(reply.status, message, reply.retry_after)
            case NoReply():
                await asyncio.Event().wait()
            case MalformedReply():
                await stream.begin()
                await stream.send("{this is no JSON")
                await stream.end()
            case InterruptedReply():
                await stream.begin()
                await stream.send(delta(content=reply.text[: len(reply.text) // 2]))
                if reply.gate is not None:
                    await reply.gate.passed()
                await (stream.end() if reply.cleanly else stream.cut())
            case TextReply():
                await _stream_text(reply, stream)
                await stream.finish("stop", reply.prompt_tokens, reply.completion_tokens)
            case ToolCallReply():
                await _stream_text(reply, stream)
                await stream.send(delta(tool_calls=tool_calls_of(_calls_of(reply))))
                await stream.finish("tool_calls", TextReply.prompt_tokens, TextReply.completion_tokens)


@asynccontextmanager
async def model_provider() -> AsyncIterator[ModelProvider]:
    """Run a provider on a free port of this machine while the block runs."""
    provider = ModelProvider()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await provider.answer(reader, writer)
        finally:
            serving.discard(task)
            writer.close()

    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        stack.callback(server.close)
        provider.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield provider
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _stream_text(reply: TextReply | ToolCallReply, stream: Stream) -> None:
    """Send the text word by word, or in two parts with the gate between, so that a held reply has started to stream."""
    middle = len(reply.text) // 2
    await stream.begin()
    if isinstance(reply, TextReply) and reply.word_seconds is not None:
        for word in re.findall(r"\S+\s*", reply.text):
            await stream.send(delta(content=word))
            await asyncio.sleep(reply.word_seconds)
        return
    await stream.send(delta(content=reply.text[:middle]))
    if reply.gate is not None:
        await reply.gate.passed()
    await stream.send(delta(content=reply.text[middle:]))


def _calls_of(reply: TextReply | ToolCallReply) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in (reply, *reply.also)] if isinstance(reply, ToolCallReply) else []


def _text_of(message: dict[str, Any]) -> str:
    calls = [call["function"] for call in message.get("tool_calls") or []]
    content = message.get("content")
    text = content if isinstance(content, str) else " ".join(part["text"] for part in content or [])
    return " ".join([text, *(f"{call['name']}({call['arguments']})" for call in calls)]).strip()
