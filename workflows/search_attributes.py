"""The search attributes under which sessions are found in Temporal. They hold no personal data."""

from typing import Final

from temporalio.common import SearchAttributeKey

ORG: Final = SearchAttributeKey.for_keyword("PlayheadOrg")
AGENT: Final = SearchAttributeKey.for_keyword("PlayheadAgent")
STATUS: Final = SearchAttributeKey.for_keyword("PlayheadStatus")
NODE: Final = SearchAttributeKey.for_keyword("PlayheadNode")
SUITE: Final = SearchAttributeKey.for_keyword("PlayheadSuite")

ALL: Final = (ORG, AGENT, STATUS, NODE, SUITE)
"""Every search attribute that the Temporal namespace has to know before sessions can start."""
