"""The agent of both langgraph peers: a graph of a model node and a tool node, as its documentation builds it.

A checkpointer saves the graph's state after every node; a conversation is a thread.
"""

# mypy: allow-untyped-decorators

import httpx2
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from benchmarks.peers.interface import INSTRUCTIONS, MESSAGE, MODEL, REPLY, TOOL, TOOL_DESCRIPTION, Settings

DISTRIBUTIONS = ("langgraph", "langgraph-checkpoint", "langchain-openai")


class LanggraphPeer:
    """Conversations as threads of one compiled graph."""

    def __init__(self, settings: Settings, checkpointer: "BaseCheckpointSaver[str]") -> None:
        @tool(TOOL, description=TOOL_DESCRIPTION)
        async def look_up(thing: str) -> str:
            async with httpx2.AsyncClient() as http:
                return (await http.post(settings.tool_url, json={"thing": thing})).text

        model = ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=False)
        answering = model.bind_tools([look_up]) if settings.with_tool else model

        async def answer(state: MessagesState) -> dict[str, list[AnyMessage]]:
            return {"messages": [await answering.ainvoke([SystemMessage(INSTRUCTIONS), *state["messages"]])]}

        graph = StateGraph(MessagesState)
        graph.add_node("model", answer)
        graph.add_edge(START, "model")
        if settings.with_tool:
            graph.add_node("tools", ToolNode([look_up]))
            graph.add_conditional_edges("model", tools_condition)
            graph.add_edge("tools", "model")
        self._graph = graph.compile(checkpointer=checkpointer)

    async def begin(self, conversation: str, past_turns: int) -> None:
        if past_turns:
            past = [message for _ in range(past_turns) for message in (HumanMessage(MESSAGE), AIMessage(REPLY))]
            await self._graph.aupdate_state(_thread(conversation), {"messages": past}, as_node="model")

    async def say(self, conversation: str, text: str, message_id: str) -> str:
        state = await self._graph.ainvoke({"messages": [HumanMessage(text, id=message_id)]}, _thread(conversation))
        return str(state["messages"][-1].content)

    async def repeat(self, conversation: str, text: str, message_id: str) -> str:
        """Invoke the graph without input: it continues from its last checkpoint."""
        state = await self._graph.ainvoke(None, _thread(conversation))
        return str(state["messages"][-1].content)


def _thread(conversation: str) -> RunnableConfig:
    return {"configurable": {"thread_id": conversation}}
