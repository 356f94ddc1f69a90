"""langgraph with its SQLite checkpointer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.peers import langgraph_graph
from benchmarks.peers.interface import Peer, Settings
from benchmarks.peers.langgraph_graph import LanggraphPeer

DISTRIBUTIONS = (*langgraph_graph.DISTRIBUTIONS, "langgraph-checkpoint-sqlite")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """One connection, as the checkpointer has it."""
    async with AsyncSqliteSaver.from_conn_string(str(Path(settings.folder) / "checkpoints.db")) as checkpointer:
        yield LanggraphPeer(settings, checkpointer)
