"""Every route under generated requests, on both databases: no 5xx but `model_failed` and `wait_timeout`.

ROUTE_EXAMPLES=200 pytest tests/api/test_every_route.py     for a longer look, with other requests each time
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.core.result import Ok

from store.embed import EmbedStore
from tests.api.dograh.widget import forget_rates
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done

EXAMPLES = int(os.environ.get("ROUTE_EXAMPLES", "8"))
LIVE = ("/events",)
"""Routes whose answers have no end."""

quick = settings(
    max_examples=EXAMPLES,
    derandomize="ROUTE_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


async def test_no_route_fails_under_generated_requests(running_api: RunningApi, caller: Caller) -> None:
    document = done(await caller.get("/openapi.json"), 200)
    agent = await caller.push(library())
    session = await caller.open("library")
    tokens, now = EmbedStore(running_api.database), datetime.now(UTC)
    of_page, token = await tokens.create(caller.organization, agent["id"], "page", origins=["*"], at=now)
    session_token = await tokens.add_session(of_page.id, session["id"], at=now, lifetime=timedelta(hours=1))
    await forget_rates(running_api.database)
    known = {
        "agent_id": agent["id"],
        "session_id": session["id"],
        "workflow_id": agent["workflow_id"],
        "run_id": session["workflow_run_id"],
        "token": token,
        "session_token": session_token,
    }
    key = caller.http.headers["authorization"]
    failed = await asyncio.to_thread(_failures, document, running_api.url, key, known)
    assert not failed, "\n".join(failed)


def _failures(document: dict[str, Any], url: str, key: str, known: dict[str, Any]) -> list[str]:
    """The requests that were answered with a 5xx, each as a line."""
    failed: list[str] = []
    schema = schemathesis.openapi.from_dict(document)
    with httpx2.Client(base_url=url, headers={"authorization": key}, timeout=60, trust_env=False) as http:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if operation.path.endswith(LIVE):
                continue

            @quick
            @given(operation.as_strategy())
            def run(case: Case[Any]) -> None:
                # Half of the requests are about objects that exist.
                if hash(repr(case.body)) % 2:
                    case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
                arguments = case.as_transport_kwargs(base_url=url)
                arguments.pop("cookies", None)
                given_headers = dict(arguments.pop("headers", None) or {}).items()
                headers = {name: value for name, value in given_headers if name.lower() != "authorization"}
                request = http.build_request(
                    arguments["method"],
                    arguments["url"],
                    params=arguments.get("params"),
                    json=arguments.get("json"),
                    content=arguments.get("data"),
                    headers=headers,
                )
                try:
                    answer = http.send(request)
                except httpx2.LocalProtocolError:  # no client can send this header
                    return
                if answer.status_code >= 500 and answer.json().get("code") not in ("model_failed", "wait_timeout"):
                    failed.append(f"{request.method} {request.url} {request.content[:500]!r}: {answer.text[:300]}")

            run()
    return failed
