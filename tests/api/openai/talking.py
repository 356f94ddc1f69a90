"""Messages and response fields for the tests of OpenAI's chat protocol."""

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.support.running_api import Caller

Messages = list[ChatCompletionMessageParam]


def key_of(caller: Caller) -> str:
    """The API key of a caller."""
    return str(caller.http.headers["Authorization"]).removeprefix("Bearer ")


def user(text: str) -> ChatCompletionMessageParam:
    """A message of the user."""
    return {"role": "user", "content": text}


def assistant(text: str) -> ChatCompletionMessageParam:
    """A message of the agent in the client's history."""
    return {"role": "assistant", "content": text}


def reply(completion: ChatCompletion) -> str:
    """The text of the reply."""
    return completion.choices[0].message.content or ""


def session_of(completion: ChatCompletion) -> str:
    """The id of a completion's session."""
    assert completion.metadata is not None
    assert (completion.model_extra or {})["session_id"] == completion.metadata["session_id"]
    return completion.metadata["session_id"]


def error_of(error: openai.APIStatusError) -> tuple[int, str | None, str | None, str | None]:
    """The status, type, code and parameter of an error."""
    return error.status_code, error.type, error.code, error.param
