"""Responses of look-ups before the greeting, in the forms that services for dograh send."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

RESERVED: Final = frozenset({"mps_correlation_id", "provider", "runtime_configuration"})
"""Names that describe a run in dograh. A service cannot set them."""
_CALL: Final = "call_inbound"
_FORMS: Final = ("initial_context", "dynamic_variables")


def variables_of(response: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The variables in a response.

    They are under `initial_context` or the older `dynamic_variables`, either of them under `call_inbound` or at the
    top; the first of these that is a mapping counts. Any other object is taken as the variables themselves.
    """
    call = response.get(_CALL)
    container = call if isinstance(call, dict) else response
    for form in _FORMS:
        variables = container.get(form)
        if isinstance(variables, dict):
            return {name: value for name, value in variables.items() if name not in RESERVED}
    return {} if container is call else dict(response)
