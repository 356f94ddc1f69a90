"""Every form of response to the look-up before the greeting, and when the look-up is made."""

import pytest
from pydantic import JsonValue

from domain.dograh.importer import import_dograh
from domain.dograh.lookup import variables_of

ASHA: dict[str, JsonValue] = {"customer_name": "Asha", "account_tier": "gold"}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"call_inbound": {"initial_context": ASHA}}, ASHA),
        ({"call_inbound": {"dynamic_variables": ASHA}}, ASHA),
        ({"call_inbound": {"initial_context": ASHA, "dynamic_variables": {"a": 1}}}, ASHA),
        ({"call_inbound": {"initial_context": "Asha", "dynamic_variables": ASHA}}, ASHA),
        ({"initial_context": ASHA}, ASHA),
        ({"dynamic_variables": ASHA}, ASHA),
        ({"initial_context": ASHA, "call_inbound": None}, ASHA),
        ({"call_inbound": {"agent_id": 7}}, {}),
        ({"call_inbound": {}, "initial_context": ASHA}, {}),
        ({"initial_context": {**ASHA, "runtime_configuration": {}, "provider": "x", "mps_correlation_id": "y"}}, ASHA),
        (ASHA, ASHA),
        ({}, {}),
    ],
)
def test_a_response_gives_the_variables(response: dict[str, JsonValue], expected: dict[str, JsonValue]) -> None:
    assert variables_of(response) == expected


@pytest.mark.parametrize(
    ("fields", "fetches", "warned"),
    [
        ({"pre_call_fetch_mode": "always"}, True, False),
        ({"pre_call_fetch_mode": "inbound"}, False, True),
        ({"pre_call_fetch_mode": "outbound"}, False, True),
        ({"pre_call_fetch_mode": "disabled"}, False, False),
        ({"pre_call_fetch_mode": "inbound", "pre_call_fetch_enabled": True}, False, True),
        ({"pre_call_fetch_enabled": True}, True, False),
        ({"pre_call_fetch_enabled": False}, False, False),
        ({}, False, False),
    ],
)
def test_only_the_mode_for_every_session_fetches(fields: dict[str, object], fetches: bool, warned: bool) -> None:
    data = {"name": "Hi", "prompt": "Talk.", "pre_call_fetch_url": "https://a.example/who", **fields}
    graph = {"nodes": [{"id": "1", "type": "startCall", "data": data}], "edges": []}
    imported = import_dograh(graph, name="a")
    assert (imported.definition.pre_call_fetch is not None) is fetches
    assert bool(imported.warnings) is warned
