"""OpenAI's official client, configured for the API."""

from collections.abc import AsyncIterator

import pytest_asyncio
from openai import AsyncOpenAI

from tests.api.openai.talking import key_of
from tests.support.running_api import Caller, RunningApi


@pytest_asyncio.fixture
async def official(running_api: RunningApi, caller: Caller) -> AsyncIterator[AsyncOpenAI]:
    """A caller's client, without retries, so that every error is visible."""
    async with AsyncOpenAI(base_url=f"{running_api.url}/v1", api_key=key_of(caller), max_retries=0) as client:
        yield client
