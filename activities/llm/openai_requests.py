"""Makes the OpenAI client send conversations as they are, without converting them.

The client compares every message with every type that a message may have, to rename fields and encode files. For a
thousand turns that takes most of a second, and blocks the worker. The messages are JSON already.
"""

from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.resources.chat.completions import AsyncCompletions
    from openai.resources.responses import AsyncResponses


def send_conversations_as_they_are(client: "AsyncOpenAI") -> None:
    """Have the client pass on the conversation of a request, of either API, without looking at it."""
    _send_as_it_is(client.chat.completions, "messages")
    _send_as_it_is(client.responses, "input")


def _send_as_it_is(resource: "AsyncCompletions | AsyncResponses", conversation: str) -> None:
    create = resource.create

    @wraps(create)
    async def create_from_json(*, extra_body: dict[str, Any] | None = None, **options: Any) -> Any:
        if isinstance(options.get(conversation), list):
            extra_body = {**(extra_body or {}), conversation: options[conversation]}
            options[conversation] = []
        return await create(extra_body=extra_body, **options)

    vars(resource)["create"] = create_from_json  # of this client alone
