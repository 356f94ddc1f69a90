"""Redaction of providers' error texts, for tenants, histories and the store, and for the operator's log.

A provider may quote the request it rejects, with the installation's key in it, and client libraries advise setting
environment variables. The provider's own sentence stays; secrets are masked, and advice is removed.
"""

import os
import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping

from activities.network.secrets import MASK, Redactor

MAX_CHARACTERS = 2_000
"""Length of a redacted text; the rest is cut."""
_MAX_READ_CHARACTERS = 40_000
"""Length of a text that is read: some providers answer with whole pages."""
_MIN_SECRET_LENGTH = 6
"""Shorter values of the environment are not secrets; masking them would mask ordinary words."""
_QUOTED_BEGINNING = 8
"""Characters of a long secret that identify it: providers quote only the beginning of a key."""

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:([^\s/@]+)@", re.IGNORECASE)

_VALUE = r"""["'\\]*\s*[:=,]\s*[\[(]?b?["'\\]*"""
"""Between the name of a header or field and its value, in JSON, in Python or in plain text."""
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@'\"]+@", re.IGNORECASE), rf"\1{MASK}@"),
    (
        re.compile(
            r"([?&;][\w.-]*(?:key|token|secret|sig|signature|passw(?:or)?d|auth|code|credential)[\w.-]*=)[^&\s'\"#]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"\b((?:proxy-)?authorization|[\w-]*(?:api|subscription|auth|access)-(?:key|token)|(?:set-)?cookie){_VALUE}"
            r"[^\"'\r\n\\,}\])]+",
            re.IGNORECASE,
        ),
        rf"\1: {MASK}",
    ),
    (re.compile(r"\b(bearer|basic)\s+(?=\S*[0-9=])[^\s\"',;}\])]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (
        re.compile(
            r"\b((?:api|secret|access|private|signing)[ _-]?key(?: id)?(?: provided)?"
            r"|(?:access|auth|session|refresh|id)[ _-]?token(?: provided)?|client[ _-]?secret|password|passwd"
            rf"|credentials?){_VALUE}[^\s\"',;}})\]]{{4,}}",
            re.IGNORECASE,
        ),
        rf"\1: {MASK}",
    ),
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|csk|pplx|nvapi|glpat|xai|xox[a-z])-[\w*.-]{6,}"
            r"|(?:gsk|hf|r8|phk|npm|whsec|gh[pousr]|github_pat|dop_v1|tgp_v1|[sr]k_(?:live|test))_[\w*.-]{6,}"
            r"|AIza[\w-]{10,}|ya29\.[\w.-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{8,}|SG\.[\w.-]{10,}|eyJ[\w-]{8,}(?:\.[\w-]*){0,2})"
        ),
        MASK,
    ),
    (
        re.compile(
            r"(?<!\w)(?!(?:req|request|msg|resp|chatcmpl)_)(?=[A-Za-z_]*[0-9][A-Za-z_]*[0-9])(?=[0-9_]*[A-Za-z])"
            r"[A-Za-z0-9_]{20,}={0,2}"
        ),
        MASK,
    ),
)
"""Patterns of texts that are secret by their form, each with its replacement."""

_ADVICE = re.compile(
    r"(?i:environment variable|\benv var|\bpip3? install\b|\buv add\b|\bpydantic|`\w+` argument)"
    r"|\bexport [A-Z]|\b[A-Z]\w*Provider\(|\bapi_key client option"
    r"|\b(?!INVALID|MISSING|INCORRECT|EXPIRED|NO_|WRONG)[A-Z][A-Z0-9]*_(?:[A-Z0-9]+_)*"
    r"(?:API_KEY|ACCESS_KEY_ID|SECRET_ACCESS_KEY|AUTH_TOKEN|API_TOKEN|BASE_URL|ENDPOINT)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class ErrorTexts:
    """Redacts error texts of providers: masks `credentials` and the secrets of the environment."""

    def __init__(self, credentials: Collection[str] = ()) -> None:
        self._credentials = tuple(credentials)

    def for_callers(self, text: str) -> str:
        """The text without secrets and without advice on setting up an installation; empty if nothing else is left."""
        masked = self._masked(text)
        kept = (sentence for sentence in _SENTENCE_END.split(masked) if not _ADVICE.search(sentence))
        return _shortened(" ".join(sentence for sentence in kept if sentence))

    def for_log(self, text: str) -> str:
        """The text without secrets, for the operator."""
        return _shortened(self._masked(text))

    def _masked(self, text: str) -> str:
        secrets = [*self._credentials, *secrets_in(os.environ)]
        redactor = Redactor([form for secret in secrets for form in _forms(secret)])
        beginnings = [
            re.escape(secret[:_QUOTED_BEGINNING]) for secret in secrets if len(secret) > 2 * _QUOTED_BEGINNING
        ]
        masked = redactor.redact_text(text[:_MAX_READ_CHARACTERS])
        for pattern, replacement in _PATTERNS:
            masked = pattern.sub(replacement, masked)
        if beginnings:
            masked = re.sub(rf"(?:{'|'.join(beginnings)})[^\s\"',;}})\]]*", MASK, masked)
        return redactor.redact_text(masked)


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """The values of the environment that are secret by the name of their variable, and the passwords in its URLs."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET_LENGTH:
            yield value
        for password in _URL_PASSWORD.findall(value):
            if len(password) >= _MIN_SECRET_LENGTH:
                yield password


def _forms(secret: str) -> Iterator[str]:
    yield secret
    if len(secret) >= _MIN_SECRET_LENGTH:
        yield b64encode(secret.encode(errors="replace")).decode().rstrip("=")


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
