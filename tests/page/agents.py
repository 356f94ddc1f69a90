"""Agents and conversations for the page's stories, made through the API."""

from tests.page.stack import PageStack
from tests.support.provider import TextReply
from tests.support.running_api import Json

GREETING = "Good day, this is the shop."


def shop(name: str, model: str, **changes: object) -> Json:
    """An agent of one node that greets without a model call."""
    return {
        "name": name,
        "model": f"openai-chat:{model}",
        "start": "counter",
        "nodes": {"counter": {"prompt": "Help the caller.", "greeting": GREETING}},
        **changes,
    }


def cents(text: str, prompt_tokens: int = 1_000, completion_tokens: int = 100) -> TextReply:
    """A reply whose price has four decimals, so that the page shows it whole: $0.0045 by default."""
    return TextReply(text, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)


async def settled_conversation(stack: PageStack, agent: Json, *exchanges: tuple[str, str]) -> Json:
    """A settled session in which each of these was said and answered, after the greeting."""
    await stack.caller.push(agent)
    model = stack.model(str(agent["model"]).partition(":")[2])
    session = await stack.caller.open(str(agent["name"]))
    for said, answer in exchanges:
        model.script(cents(answer))
        await stack.caller.say(session["id"], said)
    return await stack.settled(session["id"])
