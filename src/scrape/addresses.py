"""Which machines a fetch may reach: those of the public Internet, unless a config allows private ones."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedError(Exception):
    """An address that is not for programs that read what others wrote into a config or a page."""


def is_public(address: str) -> bool:
    """Whether an IP address is of the public Internet, and so is every IPv4 address that it carries inside."""
    ip = ipaddress.ip_address(address.split("%")[0])
    inner: list[ipaddress.IPv4Address] = _inner(ip) if isinstance(ip, ipaddress.IPv6Address) else []
    checked: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address] = inner or [ip]
    return all(each.is_global and not each.is_multicast for each in checked)


def _inner(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    if ip in _NAT64:
        return [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)]
    return [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if each is not None]


def connect(address: tuple[str, int], timeout: Any = None, source: Any = None, *, allow_private: bool = False) -> socket.socket:
    """Connect to a host, to the very address that was checked, so that a second look-up cannot change it.

    Raises:
        RefusedError: Where the host has a private, local or reserved address and these are not allowed.
        OSError: Where no connection came about.
    """
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not allow_private and (inside := [str(each[4][0]) for each in found if not is_public(str(each[4][0]))]):
        raise RefusedError(f"{host} is {inside[0]}, not a public address; set allow_private: true if that is meant")
    error: OSError | None = None
    for *_, place in found:
        try:
            return socket.create_connection((str(place[0]), port), timeout, source)
        except OSError as failed:
            error = failed
    raise error or OSError(f"{host} has no address")
