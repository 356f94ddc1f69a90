"""langwatch-scenario: a scripted scenario, whose agent under test is called with OpenAI's client."""

import asyncio
import os

os.environ |= {"SCENARIO_HEADLESS": "true", "LANGWATCH_API_KEY": "", "OTEL_SDK_DISABLED": "true"}

import scenario
from conversation import API_KEY, BASE_URL, MODEL, hold
from openai import AsyncOpenAI


class AgentUnderTest(scenario.AgentAdapter):
    """The agent under test."""

    def __init__(self, *, stream):
        self.stream = stream
        self.replies = []

    async def call(self, input):
        async with AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as client:
            create = client.chat.completions.create
            if self.stream:
                text = ""
                async for chunk in await create(model=MODEL, messages=input.messages, stream=True):
                    text += chunk.choices[0].delta.content or ""
            else:
                text = (await create(model=MODEL, messages=input.messages)).choices[0].message.content
        self.replies.append(text)
        return text


class Person(scenario.AgentAdapter):
    """The user of the conversation, who says the given texts."""

    role = scenario.AgentRole.USER

    def __init__(self, texts):
        self.texts = iter(texts)

    async def call(self, input):
        return next(self.texts)


def way(*, stream=False):
    """A way to hold a conversation in a scenario."""

    def talk(texts):
        agent = AgentUnderTest(stream=stream)
        steps = [step for _ in texts for step in (scenario.user(), scenario.agent())]
        result = asyncio.run(
            scenario.arun(
                name="a booking",
                description="A caller books a table.",
                agents=[agent, Person(texts)],
                script=[*steps, scenario.succeed()],
            )
        )
        assert result.success, result.reasoning
        return agent.replies

    return talk


hold({"chat": way(), "chat, streamed": way(stream=True)})
