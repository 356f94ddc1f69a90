"""The egress policy: public addresses and those on the allowlist."""

from ipaddress import ip_address

import pytest

from activities.network.egress_policy import EgressPolicy, canonical, denial_reason

REFUSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def test_every_address_that_is_not_public_is_refused() -> None:
    for address in REFUSED:
        assert denial_reason(canonical(address)), address
        assert EgressPolicy().denial_reason("some.host", canonical(address), 443), address


def test_every_public_address_is_reached() -> None:
    for address in PUBLIC:
        assert denial_reason(canonical(address)) is None, address


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "reached"),
    [
        ("127.0.0.1", "localhost", "127.0.0.1", 80, True),
        ("127.0.0.1", "localhost", "127.0.0.2", 80, False),
        ("127.0.0.1:9000", "localhost", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "localhost", "127.0.0.1", 7233, False),
        ("10.0.0.0/8", "crm.internal", "10.200.0.1", 443, True),
        ("10.0.0.0/8", "crm.internal", "172.16.0.1", 443, False),
        ("10.0.0.0/8", "crm.internal", "::ffff:10.0.0.1", 443, True),
        ("crm.internal", "CRM.Internal.", "172.16.0.1", 443, True),
        ("CRM.internal.", "crm.internal", "172.16.0.1", 443, True),
        ("crm.internal", "evil.crm.internal", "172.16.0.1", 443, False),
        ("crm.internal:8443", "crm.internal", "172.16.0.1", 443, False),
        ("::1", "localhost", "::1", 80, True),
        ("[::1]:9000", "localhost", "::1", 9000, True),
        ("[::1]:9000", "localhost", "::1", 80, False),
        (" fd00::/8 ", "crm.internal", "fd12::1", 80, True),
        ("0.0.0.0/0", "anything", "192.168.0.1", 80, True),
        ("0.0.0.0/0", "anything", "fd12::1", 80, False),
    ],
)
def test_the_setting_allows_only_what_it_names(entry: str, host: str, address: str, port: int, reached: bool) -> None:
    reason = EgressPolicy([entry]).denial_reason(host, canonical(address), port)
    assert (reason is None) == reached


@pytest.mark.parametrize(
    "entry", ["", "http://crm", "crm internal", "10.0.0.1/8", "10.0.0.0/8:80", "crm:0", "crm:70000", "[::1", "*", "a@b"]
)
def test_entry_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="not a valid address") as caught:
        EgressPolicy(["10.0.0.0/8", entry])
    assert repr(entry) in str(caught.value)


def test_a_denial_reason_names_the_kind_of_address() -> None:
    assert denial_reason(ip_address("127.0.0.1")) == "this machine"
    assert denial_reason(ip_address("169.254.169.254")) == "link-local"
    assert denial_reason(ip_address("10.0.0.1")) == "private or reserved"
