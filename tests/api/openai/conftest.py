"""OpenAI's official client, configured for the API."""

from collections.abc import AsyncIterator

import pytest_asyncio
from openai import AsyncOpenAI

from tests.api.openai.talking import key_of
from tests.support.running_api import Caller, RunningApi


@pytest_asyncio.fixture
async def official(running_api: RunningApi, caller: Caller) -> AsyncIterator[AsyncOpenAI]:
    """The client of somebody. It does not try again, so that every refusal is seen."""
    async with AsyncOpenAI(base_url=f"{running_api.url}/v1", api_key=key_of(caller), max_retries=0) as client:
        yield client
