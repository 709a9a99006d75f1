import pytest

from src.scrape.crawl.canonical import address, name_of


@pytest.mark.parametrize(
    "spelling",
    [
        "http://example.org/a?b=1",
        "HTTP://EXAMPLE.org:80/a?b=1",
        "http://example.org./a?b=1#part",
        "http://user:secret@example.org/a?b=1",
        "http://example.org/x/../a?b=1",
        "http://example.org/./a?b=1",
        "http://example.org/a?utm_source=feed&b=1&utm_medium=x",
        "http://example.org/a?b=1&fbclid=abc&gclid=def",
        "http://example.org/a;jsessionid=0A1B?b=1",
        "http://example.org/a?PHPSESSID=0a1b&b=1",
        "http://example.org/a?sid=0123456789abcdef0123&b=1",
        "  http://example.org/a?b=1\n",
        "http://example.org/\ta?b=1",
        "http://example.org/a?&b=1&",
    ],
)
def test_spellings_of_one_page_have_one_key(spelling: str) -> None:
    assert address(spelling) == ("http://example.org/a?b=1", "http://example.org/a?b=1", "example.org")


@pytest.mark.parametrize(
    "other",
    ["https://example.org/a?b=1", "http://example.org/A?b=1", "http://example.org:81/a?b=1", "http://example.org/a/?b=1",
     "http://example.org/a?b=2", "http://www.example.org/a?b=1", "http://example.org/a?b=1&sid=17"],
)  # fmt: skip
def test_what_may_be_another_page_has_another_key(other: str) -> None:
    found = address(other)
    assert found
    assert found.key != "http://example.org/a?b=1"


def test_the_query_is_asked_for_as_written_and_compared_in_order() -> None:
    found = address("http://example.org/?z=1&a=2")
    assert found == ("http://example.org/?z=1&a=2", "http://example.org/?a=2&z=1", "example.org")


@pytest.mark.parametrize(
    "text", ["", "mailto:a@b.c", "javascript:void(0)", "file:///etc/passwd", "data:text/html,x", "http://", "http://a:99999/", "http://[::1"]
)  # fmt: skip
def test_what_is_no_address_of_the_web(text: str) -> None:
    assert address(text) is None


def test_names_of_other_scripts_and_numbers() -> None:
    assert address("http://bücher.example/ä b").key == "http://xn--bcher-kva.example/%C3%A4%20b"
    assert address("http://[::1]:8080/").host == "[::1]:8080"
    assert address("http://example.org").key == "http://example.org/"
    assert address("http://" + "ü" * 80 + ".example/") is None
    assert name_of("example.org:8080") == "example.org"
    assert name_of("[::1]:8080") == "::1"
