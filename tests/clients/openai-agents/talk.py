"""OpenAI's Agents SDK, with the agent as its model, over chat completions and over responses."""

import asyncio

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    set_tracing_disabled,
)
from conversation import API_KEY, BASE_URL, MODEL, hold
from openai import AsyncOpenAI

set_tracing_disabled(True)


async def talk(texts, make, stream=False):
    """A conversation with all items of the results before."""
    client = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
    agent = Agent(name="caller", instructions="Be brief.", model=make(model=MODEL, openai_client=client))
    items, replies = [], []
    for text in texts:
        items.append({"role": "user", "content": text})
        if stream:
            result = Runner.run_streamed(agent, items)
            async for _ in result.stream_events():
                pass
        else:
            result = await Runner.run(agent, items)
        items = result.to_input_list()
        replies.append(result.final_output)
    return replies


def way(make, **options):
    """A way to talk through a model of the SDK."""
    return lambda texts: asyncio.run(talk(texts, make, **options))


hold(
    {
        "chat": way(OpenAIChatCompletionsModel),
        "chat, streamed": way(OpenAIChatCompletionsModel, stream=True),
        "responses": way(OpenAIResponsesModel),
        "responses, streamed": way(OpenAIResponsesModel, stream=True),
    }
)
