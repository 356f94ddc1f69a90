"""The egress guard blocks forbidden addresses in every notation, and names that resolve to them."""

import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer

from activities.network.egress_guard import EgressDenied, EgressGuard


class Names:
    """A resolver with scripted answers, each returned once; it counts its calls."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


@pytest.fixture
async def strict() -> AsyncIterator[EgressGuard]:
    guard = EgressGuard()
    yield guard
    await guard.close()


async def fetch(guard: EgressGuard, url: str) -> tuple[int, str]:
    async with httpx2.AsyncClient(transport=guard.transport) as client:
        answer = await client.get(url)
        return answer.status_code, answer.text


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ],
)
async def test_this_machine_is_refused_in_every_spelling(strict: EgressGuard, service: HTTPServer, host: str) -> None:
    service.expect_request("/").respond_with_data("reached")
    with pytest.raises((EgressDenied, httpx2.ConnectError, httpx2.InvalidURL)):
        await fetch(strict, f"http://{host}:{service.port}/")
    assert not service.log


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"])
async def test_spelling_makes_no_difference_to_what_is_allowed(service: HTTPServer, host: str) -> None:
    service.expect_request("/").respond_with_data("reached")
    guard = EgressGuard(["127.0.0.1"])
    assert await fetch(guard, f"http://{host}:{service.port}/") == (200, "reached")


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["10.0.0.1", "169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"]])
async def test_a_name_that_resolves_to_a_private_address_is_refused(service: HTTPServer, answer: list[str]) -> None:
    with pytest.raises(EgressDenied, match=r"rebind\.example"):
        await fetch(EgressGuard(resolve=Names(answer)), f"http://rebind.example:{service.port}/")
    assert not service.log


async def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(
    service: HTTPServer,
) -> None:
    service.expect_request("/").respond_with_data("reached")
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    guard = EgressGuard(["127.0.0.1"], resolve=names)
    assert await fetch(guard, f"http://rebind.example:{service.port}/") == (200, "reached")
    assert names.asked == 1
    assert service.log[0][0].headers["Host"] == f"rebind.example:{service.port}"


async def test_only_the_allowed_addresses_of_a_name_are_tried(service: HTTPServer) -> None:
    service.expect_request("/").respond_with_data("reached")
    names = Names(["10.0.0.1", "::1", "127.0.0.1"])
    assert await EgressGuard(["127.0.0.1"], resolve=names).allowed_addresses("mixed.example", 80) == ("127.0.0.1",)


async def test_next_address_is_tried_when_one_does_not_answer(service: HTTPServer) -> None:
    service.expect_request("/").respond_with_data("reached")
    guard = EgressGuard(["127.0.0.0/8"], resolve=Names(["127.9.9.9", "127.0.0.1"]))
    assert await fetch(guard, f"http://two.example:{service.port}/") == (200, "reached")


async def test_allowed_port_opens_no_other(service: HTTPServer) -> None:
    with pytest.raises(EgressDenied):
        await fetch(EgressGuard([f"127.0.0.1:{service.port + 1}"]), f"http://127.0.0.1:{service.port}/")
    assert not service.log


async def test_redirect_to_a_refused_address_is_refused_even_when_a_client_follows_it(service: HTTPServer) -> None:
    service.expect_request("/away").respond_with_data(
        status=302, headers={"Location": f"http://127.0.0.2:{service.port}/secret"}
    )
    guard = EgressGuard(["127.0.0.1"])
    async with httpx2.AsyncClient(transport=guard.transport, follow_redirects=True) as client:
        with pytest.raises(EgressDenied, match=r"127\.0\.0\.2"):
            await client.get(f"http://127.0.0.1:{service.port}/away")
    assert [request.path for request, _ in service.log] == ["/away"]


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "http://user:word@127.0.0.1/", "http:///x"]
)
async def test_url_of_a_form_that_no_tool_may_use_is_refused(url: str) -> None:
    guard = EgressGuard(["127.0.0.1"])
    with pytest.raises(EgressDenied):
        await guard.transport.handle_async_request(httpx2.Request("GET", url))


async def test_a_proxy_in_the_environment_does_not_bypass_the_guard(
    strict: EgressGuard, service: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, service.url_for("/"))
    with pytest.raises(EgressDenied):
        await fetch(strict, "http://10.0.0.1/")
    assert not service.log


async def test_name_without_an_address_is_a_failed_connection() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("unknown name")

    for resolver in (unknown, Names([])):
        with pytest.raises(httpx2.ConnectError):
            await fetch(EgressGuard(resolve=resolver), "http://nowhere.example/")


@pytest.mark.parametrize(("host", "trusted"), [("named.example", True), ("other.example", False)])
async def test_certificate_is_checked_against_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    certificate = certificate_for("named.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        server.expect_request("/").respond_with_data("reached")
        guard = EgressGuard(["127.0.0.1"], resolve=Names(["127.0.0.1"]))
        url = f"https://{host}:{server.port}/"
        if trusted:
            assert await fetch(guard, url) == (200, "reached")
        else:
            with pytest.raises(httpx2.ConnectError, match="certificate"):
                await fetch(guard, url)
        await guard.close()


def certificate_for(host: str, folder: Path) -> Path:
    """A self-signed certificate and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    return file
