import copy

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from src.scrape.crawl.guard import Guard, GuardedResolver


@pytest.mark.parametrize(
    "found",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::",
     "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_dress(found: str) -> None:
    assert not Guard().allows(found)


@pytest.mark.parametrize("found", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_the_public_internet_is_open(found: str) -> None:
    assert Guard().allows(found)


def test_what_a_config_opens() -> None:
    assert Guard(True).allows("127.0.0.1")
    assert Guard(True).allows("10.0.0.1")
    assert not Guard(True).allows("169.254.169.254")
    assert Guard(["10.1.0.0/16"]).allows("10.1.2.3")
    assert not Guard(["10.1.0.0/16"]).allows("10.2.0.1")
    assert Guard(["169.254.0.0/16"]).allows("169.254.169.254")


class Reactor:
    """Resolves each name to both addresses."""

    def __init__(self) -> None:
        self.nameResolver = self
        self.installed = None

    def resolveHostName(self, receiver, name, port=0, kinds=None, transport="TCP"):
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", port))
        receiver.addressResolved(IPv6Address("TCP", "2606:2800:220:1::1", port))
        receiver.resolutionComplete()

    def installNameResolver(self, resolver):
        self.installed = resolver


class Crawler:
    def __init__(self, guard: Guard) -> None:
        self.settings = {"MLX_GUARD": guard}


class Receiver:
    def __init__(self) -> None:
        self.found: list[str] = []
        self.steps: list[str] = []

    def resolutionBegan(self, _):
        self.steps.append("began")

    def addressResolved(self, address):
        self.found.append(address.host)

    def resolutionComplete(self):
        self.steps.append("complete")


def test_the_connection_gets_only_addresses_that_were_looked_at() -> None:
    guard = Guard()
    reactor = Reactor()
    resolver = GuardedResolver.from_crawler(Crawler(guard), reactor)
    resolver.install_on_reactor()
    assert reactor.installed is resolver
    receiver = Receiver()
    resolver.resolveHostName(receiver, "Both.example", 80)
    assert receiver.found == ["2606:2800:220:1::1"]
    assert receiver.steps == ["began", "complete"]
    assert guard.refused == {"both.example": "127.0.0.1"}


def test_scrapys_copies_of_its_settings_share_the_guard() -> None:
    guard = Guard()
    assert copy.deepcopy({"a": guard})["a"] is guard
