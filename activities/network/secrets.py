"""Credentials, and their redaction from everything that is shown, logged or stored."""

import json
import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

MASK = "[redacted]"


class Redactor:
    """Masks credentials in texts: plain, URL-encoded, or JSON-escaped."""

    def __init__(self, secrets: Collection[str]) -> None:
        forms = {form for secret in secrets if secret for form in _encodings(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redact_text(self, text: str) -> str:
        """The text with every credential masked; empty if masking itself would form a credential."""
        if self._forms is None:
            return text
        masked = self._forms.sub(MASK, text)
        return "" if self._forms.search(masked) else masked

    def redact_value(self, value: JsonValue) -> JsonValue:
        """A JSON value with every credential masked, in keys and numbers as well."""
        if self._forms is None:
            return value
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, list):
            return [self.redact_value(part) for part in value]
        if isinstance(value, dict):
            return {self.redact_text(key): self.redact_value(part) for key, part in value.items()}
        written = json.dumps(value)
        shown = self.redact_text(written)
        return value if shown == written else shown


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="", errors="replace")
    yield quote(secret, errors="replace")
    yield quote_plus(secret, errors="replace")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]


class Credentials:
    """Secrets by name. An organization's own secrets override the installation's of the same name."""

    def __init__(self, installation: Mapping[str, str], organizations: Mapping[str, Mapping[str, str]]) -> None:
        self._installation = installation
        self._organizations = organizations

    def for_organization(self, organization_id: str) -> Mapping[str, str]:
        """The secrets that agents of this organization may use."""
        own = self._organizations.get(organization_id, {})
        return ChainMap(dict(own), dict(self._installation))

    def all_values(self) -> Collection[str]:
        """The values of all secrets, to be redacted."""
        return [*self._installation.values(), *(each for own in self._organizations.values() for each in own.values())]
