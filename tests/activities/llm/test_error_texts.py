"""Error texts of providers: the provider's sentence stays, secrets and advice on the installation do not."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.llm.error_texts import MAX_CHARACTERS, ErrorTexts, secrets_in
from activities.llm.interface import ModelCall, ProviderFailed
from activities.llm.providers import ModelProviders
from activities.network.secrets import MASK

KEY = "installation-key-9f27c1"
CREDENTIAL = "the booking password"

KEPT = (
    "The model `gpt-5` does not exist or you do not have access to it.",
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130112 tokens.",
    "status_code: 400, model_name: claude-sonnet-4-20250514, body: {'type': 'error', 'error': {'type': "
    "'invalid_request_error', 'message': 'max_tokens: 99999 > 8192'}, 'request_id': 'req_011CSHoEeqs5C35K2UUqR7Fy'}",
    "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29500. Please try again in 2.4s.",
    "status_code: 429, model_name: gemini-2.0, body: {'status': 'RESOURCE_EXHAUSTED', 'code': 'invalid_api_key'}",
    "status_code: 401, model_name: m, body: {'code': 'INVALID_API_KEY', 'message': 'authorization header is missing'}",
    "Deployment us.anthropic.claude-3-5-sonnet-20241022-v2:0 was not found (5f1c9a30-7c1e-4a51-9d7f-0a1b2c3d4e5f).",
    "Unknown model: nobody:nothing",
    "Der Dienst ist überlastet: bitte später erneut versuchen.",
)
CUT = {
    f"Incorrect API key provided: {KEY}.": KEY,
    "Incorrect API key provided: sk-proj-****************wxyz. Check it.": "wxyz",
    f"{{'headers': {{'authorization': 'Bearer {KEY}', 'host': 'x'}}}}": KEY,
    '{"request": {"headers": [["authorization", "Bearer abc.def.123"], ["x-api-key", "plainword"]]}}': "plainword",
    "headers=[(b'authorization', b'Bearer opaque-word-1')]": "opaque-word-1",
    r'{"echo": "{\"Authorization\": \"Bearer opaque-word-2\"}"}': "opaque-word-2",
    "POST /v1/chat HTTP/1.1\nAuthorization: Basic dXNlcjpwYXNz\nHost: x": "dXNlcjpwYXNz",
    "Proxy-Authorization: Digest username=joe": "joe",
    "set-cookie: session=abcdefgh; Path=/": "abcdefgh",
    "x-goog-api-key: AIzaSyA-1234567890abcdefg": "1234567890abcdefg",
    "ocp-apim-subscription-key: 0123456789abcdef0123456789abcdef": "0123456789abcdef",
    "invalid bearer opaque-word-3 was sent": "opaque-word-3",
    "cannot reach https://joe:hunter22@proxy.example/v1": "hunter22",
    "GET https://api.example/v1?alt=json&key=hunter23&x=1 failed": "hunter23",
    "GET https://api.example/v1?X-Amz-Signature=abcdef&x=1 failed": "abcdef",
    "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is expired": "eyJhbGciOiJIUzI1NiJ9",
    "the key AKIAIOSFODNN7EXAMPLE is disabled": "AKIAIOSFODNN7EXAMPLE",
    "secret access key: wJalrXUtnFEMI": "wJalrXUtnFEMI",
    "password=hunter24 is wrong": "hunter24",
    "organization org-AbC123dEf456GhI789jKl012 has no credit": "AbC123dEf456GhI789jKl012",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----": "MIIEvQIBADANBg",
    f"it was {b64encode(CREDENTIAL.encode()).decode()}": b64encode(CREDENTIAL.encode()).decode(),
    f"the agent's {CREDENTIAL} is wrong": CREDENTIAL,
    f"you sent {KEY[:12]}...": KEY[:12],
    json.dumps({"deep": [{"sent": KEY}]}): KEY,
}
ADVICE = (
    "Set the `OPENAI_API_KEY` environment variable or pass it via `OpenAIProvider(api_key=...)` to use the OpenAI "
    "provider. To try Pydantic AI without an API key, use the built-in test model: `Agent('test')`. "
    "See https://pydantic.dev/docs/ai/guides/testing/",
    'Please install the `boto3` package, you can use the `bedrock` group - `pip install "pydantic-ai-slim[bedrock]"`',
    "The api_key client option must be set either by passing api_key to the client or by setting ANTHROPIC_API_KEY.",
    "Must provide the `azure_endpoint` argument or set the `AZURE_OPENAI_ENDPOINT` environment variable",
)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> ErrorTexts:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", KEY)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:databasepw@host/db")
    return ErrorTexts([CREDENTIAL])


def test_the_providers_error_text_is_kept_unchanged(texts: ErrorTexts) -> None:
    for text in KEPT:
        assert texts.for_callers(text) == text
        assert texts.for_log(text) == text


def test_secrets_are_removed_from_errors_and_from_the_log(texts: ErrorTexts) -> None:
    for text, secret in CUT.items():
        for shown in (texts.for_callers(text), texts.for_log(text)):
            assert secret not in shown, text
            assert MASK in shown, text
    assert "databasepw" not in texts.for_log("cannot connect with databasepw")


def test_installation_advice_is_only_logged(texts: ErrorTexts) -> None:
    for text in ADVICE:
        assert texts.for_callers(text) == ""
        assert texts.for_log(text) == text
    assert texts.for_callers(f"The key is wrong. {ADVICE[2]} Ask again.") == "The key is wrong. Ask again."


def test_a_long_text_is_shortened_and_read_quickly(texts: ErrorTexts) -> None:
    for page in (
        "<p>busy</p>" * 1_000_000,
        "a1" * 1_000_000,
        "authorization " * 100_000,
        "?key=" * 200_000,
        "://" * 300_000,
    ):
        assert len(texts.for_callers(page)) <= MAX_CHARACTERS
        assert len(texts.for_log(page)) <= MAX_CHARACTERS


@given(
    st.text(max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40),
    st.text(max_size=60),
)
def test_an_environment_secret_is_removed_whatever_surrounds_it(before: str, secret: str, after: str) -> None:
    texts = ErrorTexts([secret])
    assert secret not in texts.for_callers(f"{before}{secret}{after}")
    assert secret not in texts.for_log(f"{before}{secret}{after}")


def test_environment_secrets_are_recognized_by_name_unless_they_are_short() -> None:
    environment = {"A_KEY": "long enough", "B_TOKEN": "short", "PATH": "/usr/bin:/bin", "URL": "redis://:pw123456@host"}
    assert list(secrets_in(environment)) == ["long enough", "pw123456"]


async def test_an_unconfigured_provider_fails_with_our_own_error_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    call = ModelCall(model="openai:gpt-5", instructions="", history=(), messages=(), tools=(), timeout=30)
    with pytest.raises(ProviderFailed) as failed:
        await ModelProviders(prices={}).call(call)
    assert str(failed.value) == "The model openai:gpt-5 cannot be used: this installation is not set up for it."
    assert failed.value.permanent
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
