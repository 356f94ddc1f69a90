"""Webhook signatures, checked against a test vector of Standard Webhooks."""

from base64 import b64encode

import pytest

from domain.webhooks.signing import MAX_KEY_BYTES, MIN_KEY_BYTES, decode_key, sign


def secret(length: int, prefix: str = "whsec_") -> str:
    return prefix + b64encode(bytes(length)).decode()


def test_a_signature_is_the_one_that_the_standards_own_libraries_are_tested_with() -> None:
    key = decode_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "changed",
    [("msg_2", 1, b"{}"), ("msg_1", 2, b"{}"), ("msg_1", 1, b"{} ")],
    ids=["another id", "another time", "another body"],
)
def test_a_signature_is_over_id_time_and_body(changed: tuple[str, int, bytes]) -> None:
    assert sign(bytes(24), "msg_1", 1, b"{}") != sign(bytes(24), *changed)
    assert sign(bytes(24), "msg_1", 1, b"{}") != sign(bytes([1] * 24), "msg_1", 1, b"{}")


@pytest.mark.parametrize("length", [MIN_KEY_BYTES, MAX_KEY_BYTES])
def test_a_secret_holds_its_key(length: int) -> None:
    assert decode_key(secret(length)) == bytes(length)


@pytest.mark.parametrize(
    "no_secret",
    [
        "",
        "whsec_",
        secret(MIN_KEY_BYTES - 1),
        secret(MAX_KEY_BYTES + 1),
        secret(32, prefix=""),
        "whsec_no base 64!",
        "ü",
    ],
)
def test_an_invalid_secret_is_refused_without_being_shown(no_secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret must be whsec_ followed by 24 to 64 random bytes") as caught:
        decode_key(no_secret)
    assert not no_secret or no_secret not in str(caught.value).replace("must be whsec_ followed", "")
