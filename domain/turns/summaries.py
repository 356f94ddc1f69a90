"""Running summaries of a conversation, in place of the turns that a request has no room for.

A summary belongs to the step that it goes up to, and so to every branch that has this step. It is written before it is
needed, while the request still has room for the turns that it covers.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain.agents.definition import Compaction
from domain.durable import FrozenModel
from domain.turns.model_request import RequestFrame, RequestMessage

SUMMARY_NODE_ID = "summary"
"""The `node_id` of summaries among the saved steps."""
SUMMARY_PREFIX = "summary_"
DUE_SHARE = (3, 4)
"""Share of the limit at which a summary becomes due."""
RECENT_SHARE = (1, 3)
"""Share of the limit for the newest turns, which the summary leaves out."""
WORDS_PER_TOKEN = (1, 12)
"""Length of a summary in words, as a share of the tokens of a request."""
MAX_WORDS = 800

INSTRUCTIONS = """\
You keep the memory of a conversation between a user and an agent. Write a summary of what is given to you, with which \
the agent can go on as if it had all of it: who the user is and what they want, every name, number, date, place and id \
that was mentioned, what was agreed, promised or refused, what tools returned that may matter later, and what is still \
open. Keep what an earlier summary says unless it no longer holds. Write plain sentences in the language of the \
conversation, in at most {words} words, and nothing else."""
HEADING = "The conversation is longer than what follows. Summary of its earlier part:"
SUMMARY_SO_FAR = "Summary so far:"


class SummaryPoint(FrozenModel):
    """The end of a summary: the last step of a turn."""

    digest: str
    turn_id: str

    @property
    def call_id(self) -> str:
        """The id under which the summary is stored and billed."""
        return summary_id(self.digest)


class Summary(NamedTuple):
    """A summary of everything up to its point."""

    point: SummaryPoint
    text: str

    @property
    def block(self) -> str:
        """The text in a request's instructions."""
        return f"{HEADING}\n{self.text}"


def summary_id(digest: str) -> str:
    """The id of the summary up to a step."""
    return f"{SUMMARY_PREFIX}{digest}"


def with_summary(frame: RequestFrame, summary: Summary | None) -> RequestFrame:
    """The frame with the summary at the end of its instructions."""
    if summary is None:
        return frame
    instructions = "\n\n".join(filter(None, (frame.instructions, summary.block)))
    return frame.model_copy(update={"instructions": instructions})


def summary_instructions(compaction: Compaction, limit: int) -> str:
    """The instructions for writing a summary that is to be part of requests of at most `limit` tokens."""
    share, of = WORDS_PER_TOKEN
    words = min(MAX_WORDS, limit * share // of)
    return "\n\n".join(filter(None, (INSTRUCTIONS.format(words=words), compaction.prompt.strip())))


def summary_request(earlier: str | None, messages: Iterable[RequestMessage]) -> str:
    """The conversation to be summarised, after an earlier summary if there is one, as one text."""
    lines = [f"{SUMMARY_SO_FAR}\n{earlier}\n"] if earlier else []
    lines += [line for message in messages for line in _lines(message)]
    return "\n".join(lines)


def _lines(message: RequestMessage) -> Iterable[str]:
    match message.role:
        case "user":
            yield f"User: {message.content}"
        case "tool":
            yield f"Result of a tool: {message.content}"
        case "assistant":
            if message.content:
                yield f"Agent: {message.content}"
            for call in message.tool_calls:
                yield f"The agent called {call.name}."
        case _:
            return
