"""Former names of renamed settings. They are still read, with a warning, until version 1.0."""

from collections.abc import Mapping

from playhead.config.variables import PREFIX

FORMER_NAMES = {
    "request_timeout_seconds": "WAIT_SECONDS",
    "shutdown_grace_seconds": "GRACE_SECONDS",
    "model_heartbeat_timeout_seconds": "HEARTBEAT_SECONDS",
    "sse_keepalive_seconds": "EVENTS_HEARTBEAT_SECONDS",
    "sse_write_timeout_seconds": "SLOW_CLIENT_SECONDS",
    "egress_allowlist": "TOOL_ADDRESSES",
    "max_context_characters": "CONTEXT_CHARACTERS",
    "settlement_delay_seconds": "SETTLE_WITHIN_SECONDS",
    "unattended_settlement_delay_seconds": "SETTLE_UNATTENDED_WITHIN_SECONDS",
    "payload_offload_threshold_bytes": "LARGE_PAYLOAD_BYTES",
}
"""Fields of `Settings`, with the former name of their variable without `PLAYHEAD_`."""


def former_variables() -> set[str]:
    """The former environment variables of all renamed settings."""
    return {f"{PREFIX}{name}" for name in FORMER_NAMES.values()}


def former_variable_in(environment: Mapping[str, str], field: str) -> str | None:
    """The former variable that sets this field; None when its new variable is set or neither is."""
    set_variables = {name.upper(): name for name, value in environment.items() if value}
    if field not in FORMER_NAMES or f"{PREFIX}{field.upper()}" in set_variables:
        return None
    return set_variables.get(f"{PREFIX}{FORMER_NAMES[field]}")


def warnings_about_former_names(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each former variable that is set, with its new name."""
    set_variables = {name.upper() for name, value in environment.items() if value}
    warnings = []
    for field, former in FORMER_NAMES.items():
        old, new = f"{PREFIX}{former}", f"{PREFIX}{field.upper()}"
        if old not in set_variables:
            continue
        if new in set_variables:
            warnings.append(f"{old} is ignored, because {new}, its new name, is set as well; remove {old}.")
        else:
            warnings.append(f"{old} has been renamed to {new}; the old name will no longer be read from version 1.0.")
    return warnings
