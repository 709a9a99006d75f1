import pytest

from src.scrape.html_text import BadHtmlError, html_text


def text(page: str) -> str:
    return html_text(page)[1]


def test_what_surrounds_the_text_is_left_out() -> None:
    page = """<html><head><title> A
      page </title><style>p {}</style></head><body><header><h1>Head</h1></header><nav><ul><li>Home</ul></nav>
      <p>One <b>bold</b>&nbsp;word.</p><script>var x = "<p>no</p>";</script><ul><li>first<li>second</ul><footer>© me</footer></body>"""
    assert html_text(page) == ("A page", "Head\n\nOne bold word.\n\nfirst\n\nsecond")


def test_only_the_main_part_where_a_page_marks_one() -> None:
    assert text("<div>cookies?</div><article><p>one</p></article><main>two</main>") == "one\n\ntwo"
    assert text("<div>all there is</div><main></main>") == "all there is"


def test_preformatted_text_keeps_its_lines() -> None:
    assert text("<pre>a\n  b</pre><p>c\n  d</p>") == "a\nb\n\nc d"


def test_tables_and_forms_are_read() -> None:
    assert text("<form><table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table></form>") == "a b\n\nc"


def test_broken_pages_are_read_as_far_as_they_go() -> None:
    assert text("<head><title>x</title><body><p>in the body</nav></p>") == "in the body"
    assert text("</main>plain") == "plain"


def test_a_page_beyond_parsing_is_an_error_of_its_own() -> None:
    with pytest.raises(BadHtmlError):
        html_text("<![foo[bar]]>")
