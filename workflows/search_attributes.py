"""The search attributes under which sessions are found in Temporal. They hold no personal data."""

from typing import Final

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from contracts.sessions import StartSession
from domain.sessions.views import SessionHead

ORG: Final = SearchAttributeKey.for_keyword("PlayheadOrg")
AGENT: Final = SearchAttributeKey.for_keyword("PlayheadAgent")
STATUS: Final = SearchAttributeKey.for_keyword("PlayheadStatus")
NODE: Final = SearchAttributeKey.for_keyword("PlayheadNode")
SUITE: Final = SearchAttributeKey.for_keyword("PlayheadSuite")

ALL: Final = (ORG, AGENT, STATUS, NODE, SUITE)
"""Every search attribute that must be registered in the Temporal namespace before sessions can start."""


def of_session(start: StartSession) -> TypedSearchAttributes:
    """The attributes that a session starts with. Status and node start as they are after the greeting, because each
    change costs an event."""
    pairs = [
        SearchAttributePair(ORG, start.organization_id),
        SearchAttributePair(AGENT, start.agent.id),
        SearchAttributePair(STATUS, "idle"),
        SearchAttributePair(NODE, start.definition.start),
    ]
    if start.suite_id is not None:
        pairs.append(SearchAttributePair(SUITE, start.suite_id))
    return TypedSearchAttributes(pairs)


def of_suite(organization_id: str, agent_id: str, suite_id: str) -> TypedSearchAttributes:
    """The attributes of a suite, which is found together with its sessions."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(ORG, organization_id),
            SearchAttributePair(AGENT, agent_id),
            SearchAttributePair(SUITE, suite_id),
        ]
    )


def updates_for(head: SessionHead, known: TypedSearchAttributes) -> list[SearchAttributeUpdate[str]]:
    """The attributes that changed since they were published. A pending reply is short, and is not published."""
    wanted = [SearchAttributePair(NODE, head.current_node_id)]
    if head.status != "pending_assistant_turn":
        wanted.append(SearchAttributePair(STATUS, head.status))
    return [pair.key.value_set(pair.value) for pair in wanted if known.get(pair.key) != pair.value]
