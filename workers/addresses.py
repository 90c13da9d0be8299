"""Where outbound requests may go: rules on URLs and addresses, without any I/O; the gateway uses them too."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_networks(value: object) -> object:
    """The networks in a list such as 10.0.0.0/8,fd00::/8. Raises `ValueError` for what is none."""
    if isinstance(value, str):
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    return value


# The type of a setting that lists networks.
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(parse_networks)]

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_LENGTH = 2048

# What is not public, by the IANA special-purpose address registries. `ipaddress.is_global` would not do:
# it lets multicast, 192.0.0.0/24, 6to4 and NAT64 through, and changes with Python's version.
_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
            "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
# All unicast that has been given out lies in 2000::/3, so whatever lies elsewhere is refused unnamed.
_UNICAST_IPV6 = IPv6Network("2000::/3")
# In it: protocol assignments with Teredo, documentation, 6to4. The tunnels may embed any IPv4 address.
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# The one translation prefix in public use (RFC 6052): on IPv6-only networks DNS64 puts all of IPv4 there.
_NAT64 = IPv6Network("64:ff9b::/96")


class ForbiddenUrl(ValueError):
    """This URL is not to be called. The message ends a sentence that begins with "the URL"."""


class ForbiddenAddress(ForbiddenUrl):
    """The URL leads to an address or a port that is not to be reached."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed, in the parts that a request is made of; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, allow: Sequence[Network] = ()) -> Target:
    """Judge a URL by what it says; what its name resolves to is judged when it is dialled.

    `allow` lists the networks that may be reached although they are not public. Raises `ForbiddenUrl`.
    """
    if len(url) > MAX_URL_LENGTH:
        raise ForbiddenUrl(f"must not be longer than {MAX_URL_LENGTH} characters")
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise ForbiddenUrl("must be plain ASCII, without blanks or backslashes: encode other characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrl("must be a URL such as https://example.com/hook") from error
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise ForbiddenUrl("must begin with http:// or https:// and a host name")
    if "@" in parts.netloc:
        raise ForbiddenUrl("must not carry a user name or a password")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    _check_host(host, port, allow)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def check_address(address: Address, port: int, allow: Sequence[Network] = ()) -> None:
    """Judge an address that is about to be dialled. Raises `ForbiddenAddress`."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allow):
        return
    if not is_public(address):
        raise ForbiddenAddress(f"must not lead to {address}, which is not a public address")
    _check_port(port)


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host on the public Internet, as far as the address tells."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def _check_host(host: str, port: int, allow: Sequence[Network]) -> None:
    literal = _literal(host)
    if literal is not None:
        check_address(literal, port, allow)
    elif not allow:
        if host == "localhost" or host.endswith(".localhost"):
            raise ForbiddenAddress("must not lead to this machine")
        _check_port(port)


def _check_port(port: int) -> None:
    if port not in DEFAULT_PORTS.values():
        raise ForbiddenAddress(f"must use port 80 or 443, not {port}")


def _literal(host: str) -> Address | None:
    """The address that a host spells out, also in the old forms (0x7f.1, 2130706433) that resolvers take."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
