"""Pydantic AI, with the agent as its model, over chat completions and over responses."""

from conversation import API_KEY, BASE_URL, MODEL, hold
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)


def talk(texts, model, stream=False):
    """A conversation with the whole history."""
    agent, history, replies = Agent(model), [], []
    for text in texts:
        if stream:
            result = agent.run_stream_sync(text, message_history=history)
            replies.append(result.get_output())
        else:
            result = agent.run_sync(text, message_history=history)
            replies.append(result.output)
        history = result.all_messages()
    return replies


chat, responses = OpenAIChatModel(MODEL, provider=provider), OpenAIResponsesModel(MODEL, provider=provider)
hold(
    {
        "chat": lambda texts: talk(texts, chat),
        "chat, streamed": lambda texts: talk(texts, chat, stream=True),
        "responses": lambda texts: talk(texts, responses),
        "responses, streamed": lambda texts: talk(texts, responses, stream=True),
    }
)
