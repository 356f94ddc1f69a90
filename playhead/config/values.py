"""Declaration of settings with their documentation, and parsers of those that are not plain values."""

import json
import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from domain.usage import TokenPrice
from domain.webhooks.signing import decode_key


def setting(
    default: Any = None, *, means: str, expects: str, secret: bool = False, shown: str = "", **form: Any
) -> Any:
    """A field with its documentation. `shown` stands for a default that is computed; secrets are never shown."""
    documented: dict[str, Any] = {"expects": expects, "secret": secret, "shown": shown}
    default = form.pop("default_factory", None) or default
    if callable(default):
        return Field(default_factory=default, description=means, json_schema_extra=documented, **form)
    return Field(default, description=means, json_schema_extra=documented, **form)


def seconds(default: float, *, means: str, least: float = 0.001, most: float = 86_400) -> Any:
    """A field of seconds between two bounds."""
    expects = f"a number of seconds from {least:g} to {most:g}"
    return setting(default, means=means, expects=expects, ge=least, le=most, allow_inf_nan=False)


def lower(value: object) -> object:
    """A text in lower case; anything else unchanged."""
    return value.lower() if isinstance(value, str) else value


def _parsed_prices(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        prices: object = json.loads(value, parse_float=str)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    for model, price in prices.items() if isinstance(prices, dict) else ():
        unknown = set(price if isinstance(price, dict) else ()) - set(TokenPrice.model_fields)
        if unknown:
            raise ValueError(f"{model}: there is no price called {', '.join(sorted(unknown))}")
    return prices


Prices = Annotated[dict[str, TokenPrice], NoDecode, BeforeValidator(_parsed_prices)]


def _parsed_credentials(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None  # the cause's message would show a part of a secret


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _ORIGIN.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is not an origin: write a scheme, a host and a port, without a path")
    return tuple(value.lower() for value in values)


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            message = f"{value[:80]!r} is not an address or a network, written with its first address"
            raise ValueError(message) from None
    return values


def _signing(value: str) -> str:
    decode_key(value)
    return value


WebhookSecret = Annotated[str, AfterValidator(_signing)]
Credentials = Annotated[dict[str, str], NoDecode, BeforeValidator(_parsed_credentials)]
OrganizationCredentials = Annotated[dict[str, dict[str, str]], NoDecode, BeforeValidator(_parsed_credentials)]
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+", re.IGNORECASE)
