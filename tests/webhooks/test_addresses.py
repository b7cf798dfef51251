"""Where requests may go."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.registry.webhooks.addresses import PrivateAddressError, Target, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "239.1.1.1", "255.255.255.255", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe"),
        *("2002:7f00:1::", "::7f00:1", "fec0::1", "2001:db8::1", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    ],
)
def test_an_address_that_only_we_can_reach_is_refused(address):
    assert not is_public(ipaddress.ip_address(address))
    target = Target.of("https://hook.example.org/", allow_private=False, allow_http=False)
    with pytest.raises(PrivateAddressError, match="isn't a public address"):
        # Also when it is one of several.
        target.addresses(lambda host, port: ["93.184.216.34", address])


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_an_address_is_as_public_as_what_it_wraps(inner):
    for wrapped in (0xFFFF << 32 | int(inner), 0x2002 << 112 | int(inner) << 80, 0x64FF9B << 96 | int(inner)):
        assert is_public(ipaddress.IPv6Address(wrapped)) == is_public(inner)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hook.example.org/", "without TLS"),
        ("ftp://hook.example.org/", "begins with https://"),
        ("https:///nowhere", "begins with https://"),
        ("https://user:pass@hook.example.org/", "no user, password"),
        ("https://hook.example.org/#here", "no user, password or fragment"),
        ("https://hook.example.org/a b", "without blanks"),
        ("https://hook.example.org/\r\nX: y", "without blanks"),
        ("https://hook.example.org:99999/", "isn't an address"),
        ("https://127.0.0.1/", "isn't a public address"),
        ("https://[::1]/", "isn't a public address"),
        ("https://[::ffff:127.0.0.1]/", "isn't a public address"),
        ("https://127.1/", "isn't a public address"),
        ("https://0x7f000001/", "isn't a public address"),
        ("https://2130706433/", "isn't a public address"),
        ("https://localhost/", "isn't a public address"),
        ("https://hook.example.org/" + "x" * 2000, "characters"),
    ],
)
def test_an_address_that_cant_be_meant_is_refused_when_it_is_given(url, said):
    with pytest.raises(InvalidInputError, match=said):
        Target.of(url, allow_private=False, allow_http=False)


def test_an_address_is_taken_apart():
    target = Target.of("https://Hook.example.org:8443/a/b?c=d", allow_private=False, allow_http=False)
    assert (target.host, target.port, target.path, target.is_tls) == ("hook.example.org", 8443, "/a/b?c=d", True)
    assert Target.of("http://10.0.0.1", allow_private=True, allow_http=True).port == 80
    assert target.addresses(lambda host, port: ["93.184.216.34"]) == ["93.184.216.34"]
