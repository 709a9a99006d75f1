"""Keeping the crawler out of private networks: every address is looked at when it is connected to, names and redirects alike."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer  # type: ignore[import-untyped]

from src.scrape.addresses import is_public

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

_HOME: Networks = tuple(
    ipaddress.ip_network(each) for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
"""What `allow_private: true` opens; link-local addresses, where clouds keep their keys, have to be named."""


class Guard:
    """Says which addresses may be connected to."""

    def __init__(self, allow_private: bool | Iterable[str] = False) -> None:
        if isinstance(allow_private, bool):
            self._open: Networks = _HOME if allow_private else ()
        else:
            self._open = tuple(ipaddress.ip_network(each) for each in allow_private)
        self.refused: dict[str, str] = {}
        """Names that led to a private address, with that address."""

    def __deepcopy__(self, memo: Any) -> "Guard":
        """Stay one where Scrapy copies its settings."""
        return self

    def allows(self, text: str) -> bool:
        """Whether this IP address may be connected to."""
        found = ipaddress.ip_address(text.partition("%")[0])
        return any(found.version == each.version and found in each for each in self._open) or is_public(text)

    def refuse(self, host: str, found: str) -> None:
        """Remember why a name was not connected to."""
        self.refused[host.lower()] = found


@implementer(IHostnameResolver)
class GuardedResolver:
    """Twisted's resolver with the guard behind it: what it lets through is what the connection goes to, so no second answer can differ."""

    def __init__(self, reactor: Any, guard: Guard) -> None:
        self.reactor = reactor
        self.guard = guard
        self._resolver = reactor.nameResolver

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> "GuardedResolver":
        """Take the guard from the settings."""
        return cls(reactor, crawler.settings["MLX_GUARD"])

    def install_on_reactor(self) -> None:
        """Stand in the place of the reactor's own."""
        self.reactor.installNameResolver(self)

    def resolveHostName(  # noqa: N802 (Twisted's name)
        self,
        resolutionReceiver: Any,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[Any] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> Any:
        """Resolve a name, or an address written as one, to what may be connected to."""
        receiver = _Receiver(resolutionReceiver, hostName, self.guard)
        return self._resolver.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, inner: Any, host: str, guard: Guard) -> None:
        self.inner = inner
        self.host = host
        self.guard = guard

    def resolutionBegan(self, resolution: IHostResolution) -> None:  # noqa: N802
        self.inner.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        if self.guard.allows(address.host):
            self.inner.addressResolved(address)
        else:
            self.guard.refuse(self.host, address.host)

    def resolutionComplete(self) -> None:  # noqa: N802
        self.inner.resolutionComplete()
