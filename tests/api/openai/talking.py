"""Words for the tests of the chat protocol: messages, and what is in an answer."""

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.support.running_api import Caller

Messages = list[ChatCompletionMessageParam]


def key_of(caller: Caller) -> str:
    """The API key that somebody has."""
    return str(caller.http.headers["Authorization"]).removeprefix("Bearer ")


def user(text: str) -> ChatCompletionMessageParam:
    """Something that the user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> ChatCompletionMessageParam:
    """Something that the client believes the agent said."""
    return {"role": "assistant", "content": text}


def reply(completion: ChatCompletion) -> str:
    """What the agent said."""
    return completion.choices[0].message.content or ""


def session_of(completion: ChatCompletion) -> str:
    """The session that a completion names."""
    assert completion.metadata is not None
    assert (completion.model_extra or {})["session_id"] == completion.metadata["session_id"]
    return completion.metadata["session_id"]


def error_of(error: openai.APIStatusError) -> tuple[int, str | None, str | None, str | None]:
    """The status, type, code and parameter of a refusal."""
    return error.status_code, error.type, error.code, error.param
