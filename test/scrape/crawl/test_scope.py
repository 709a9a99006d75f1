import pytest

from src.scrape.crawl.scope import Scope, hosts_of, is_trap, pattern, shard_of


def test_a_crawl_stays_on_its_hosts() -> None:
    scope = Scope(hosts_of(["http://example.org/x", "https://www.news.example/"]))
    assert [scope.on_site(host) for host in ("example.org", "www.example.org", "news.example", "a.example.org", "other.example")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_star_takes_all_below() -> None:
    scope = Scope(["*.example.org"])
    assert [scope.on_site(host) for host in ("example.org", "a.example.org", "b.a.example.org", "badexample.org")] == [
        True,
        True,
        True,
        False,
    ]


def test_patterns_say_what_is_kept_and_what_is_only_followed() -> None:
    scope = Scope([], include=["/articles/"], follow=["/page/"], exclude=["print=1"])
    urls = ["http://a/articles/1", "http://a/page/2", "http://a/other", "http://a/articles/1?print=1"]
    assert [(scope.wants(url), scope.keeps(url)) for url in urls] == [(True, True), (True, False), (False, False), (False, True)]


def test_shards_share_the_hosts_out() -> None:
    hosts = [f"host{number}.example" for number in range(200)]
    owners = [[index for index in range(4) if Scope([], shard=(index, 4)).mine(host)] for host in hosts]
    assert all(len(each) == 1 for each in owners)
    assert {each[0] for each in owners} == {0, 1, 2, 3}
    assert shard_of("www.example.org", 7) == shard_of("Example.org:8080", 7) == 3


@pytest.mark.parametrize(
    ("url", "series"),
    [
        ("http://a/calendar/2026/11/", "/calendar/#/#/"),
        ("http://a/c?day=3&month=4", "/c?day&month"),
        ("http://a/about", None),
        ("http://a/list?p1=2", "/list?p#"),
    ],
)
def test_addresses_of_one_series_share_a_pattern(url: str, series: str | None) -> None:
    assert pattern(url) == series


def test_addresses_that_loops_make() -> None:
    assert is_trap("http://a/" + "x" * 2000)
    assert is_trap("http://a/" + "/".join(map(str, range(30))))
    assert is_trap("http://a/b/c/b/c/b/c/b")
    assert not is_trap("http://a/2026/11/21/11/story")
