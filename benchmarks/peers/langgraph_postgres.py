"""langgraph with its PostgreSQL checkpointer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers import langgraph_graph
from benchmarks.peers.interface import Peer, Settings
from benchmarks.peers.langgraph_graph import LanggraphPeer

DISTRIBUTIONS = (*langgraph_graph.DISTRIBUTIONS, "langgraph-checkpoint-postgres", "psycopg")
CONNECTIONS = 20


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """A pool of connections, with the options that the checkpointer's documentation asks for."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(settings.database_url, max_size=CONNECTIONS, kwargs=options) as pool:
        checkpointer = AsyncPostgresSaver(pool)
        await checkpointer.setup()
        yield LanggraphPeer(settings, checkpointer)
