"""Parameters of OpenAI's requests: those that cannot be honoured are errors, those without effect are named."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from api.openai.errors import ChatError

IGNORED_HEADER: Final = "x-ignored-parameters"
"""Response header with the parameters of the request that had no effect and are not documented to have none."""
MAX_NAMED: Final = 20
"""Maximum parameters named in the header and in the log."""
MAX_NAME_CHARACTERS: Final = 100

_OWN_TOOLS: Final = "the agent decides which tools it calls"
_UNSUPPORTED: Final[Mapping[str, tuple[str, Callable[[JsonValue], bool]]]] = {
    "audio": ("replies are text", lambda value: False),
    "function_call": (_OWN_TOOLS, lambda value: value in ("none", "auto")),
    "logit_bias": ("the agent definition decides how the model is called", lambda value: value == {}),
    "logprobs": ("log probabilities are not available", lambda value: value is False),
    "modalities": ("replies are text", lambda value: value == ["text"]),
    "n": ("a session continues with exactly one reply", lambda value: value == 1),
    "stop": ("replies are recorded in full and not cut", lambda value: value in ([], "")),
    "tool_choice": (_OWN_TOOLS, lambda value: value in ("none", "auto")),
    "top_logprobs": ("log probabilities are not available", lambda value: value == 0),
}
"""Parameters that would change the reply: why they are rejected, and a check for values without effect."""

_TUNING: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "temperature",
        "top_p",
        "user",
        "verbosity",
    }
)
"""Documented parameters without effect: the agent definition decides how the model is called."""


def require_supported(parameters: Mapping[str, JsonValue]) -> None:
    """Raise ChatError for a parameter that would change the reply and cannot be honoured."""
    for name, value in parameters.items():
        why, has_no_effect = _UNSUPPORTED.get(name, ("", lambda _: True))
        if value is not None and not has_no_effect(value):
            raise ChatError(400, "unsupported_parameter", f"{name} cannot be used with a session: {why}.", name)


def ignored_parameters(parameters: Mapping[str, JsonValue]) -> str:
    """The parameters that had no effect and are not documented as such, as the value of a header; "" for none."""
    return ", ".join(list(_ignored(parameters))[:MAX_NAMED])


def _ignored(parameters: Mapping[str, JsonValue]) -> Iterator[str]:
    for name, value in parameters.items():
        if value not in (None, [], {}) and name not in _TUNING and name not in _UNSUPPORTED:
            yield quote(name.encode(errors="replace"), safe="[]().:@/")[:MAX_NAME_CHARACTERS]
