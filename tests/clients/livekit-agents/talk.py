"""LiveKit Agents without a room: a session of its own, in text, with the agent as its model."""

import asyncio

from conversation import API_KEY, BASE_URL, MODEL, hold
from livekit.agents import Agent, AgentSession
from livekit.plugins import openai


async def in_session(talk, texts):
    """A conversation in a session that has started."""
    model = openai.LLM(model=MODEL, base_url=BASE_URL, api_key=API_KEY, max_retries=0)
    first_words = asyncio.Event()

    class ObservedAgent(Agent):
        """An agent that notes the first words of a reply."""

        async def llm_node(self, chat_ctx, tools, model_settings):
            async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
                first_words.set()
                yield chunk

    async with AgentSession(llm=model) as session:
        await session.start(ObservedAgent(instructions="Be brief."))
        return await talk(session, first_words, texts)


def last_reply(session):
    """The newest text of the agent in the history of the session."""
    replies = [item for item in session.history.items if item.type == "message" and item.role == "assistant"]
    return replies[-1].text_content if replies else ""


async def plain(session, first_words, texts):
    """Three turns."""
    replies = []
    for text in texts:
        await session.run(user_input=text)
        replies.append(last_reply(session))
    return replies


async def interrupt(session, first_words, texts):
    """The second reply is interrupted at its first words, and the third message comes at once."""
    first, second, third = texts
    replies = await plain(session, first_words, [first])
    first_words.clear()
    speech = session.generate_reply(user_input=second)
    await asyncio.wait_for(first_words.wait(), 60)
    await session.interrupt()
    await speech.wait_for_playout()
    replies.append("interrupted" if speech.interrupted else "")
    return replies + await plain(session, first_words, [third])


def way(talk):
    """A way to talk in a session."""
    return lambda texts: asyncio.run(in_session(talk, texts))


hold({"streamed": way(plain), "interrupt": way(interrupt)})
