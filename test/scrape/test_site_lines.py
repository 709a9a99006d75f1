from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.site_lines import SiteLines


def page(number: int, *lines: str, site: str = "https://www.a.org") -> Record:
    return Record(f"p{number}", "\n".join(lines), {"url": f"{site}/{number}"})


def taught(*items, share=0.5, min_pages=3, most=100):
    found = SiteLines(share=share, min_pages=min_pages, most=most)
    found.learn(items)
    return found


def test_lines_of_many_pages_of_a_site_go_and_others_stay():
    pages = [page(number, "The A Herald", f"Story {number}.", "© A 2024") for number in range(5)]
    other = page(9, "The A Herald", "Another site.", site="https://b.org")
    lines = taught(*pages, other, Drop("x", "empty"), Record("n", "The A Herald"))
    assert [lines.apply(each).text for each in pages] == [f"Story {number}." for number in range(5)]
    assert lines.apply(other) is other
    assert lines.apply(Record("n", "The A Herald")).text == "The A Herald"


def test_a_page_of_nothing_else_is_dropped():
    pages = [page(number, "menu", "imprint") for number in range(4)]
    assert taught(*pages).apply(pages[0]).reason == "boilerplate"


def test_a_line_of_few_pages_or_twice_on_one_page_stays():
    pages = [page(number, "rare" if number < 2 else f"own {number}", f"twice {number}", f"twice {number}") for number in range(6)]
    lines = taught(*pages)
    assert [lines.apply(each) is each for each in pages] == [True] * 6


def test_memory_is_bounded_by_forgetting_what_was_seen_once():
    pages = [page(number, "always", *(f"line {number} {each}" for each in range(30))) for number in range(20)]
    lines = taught(*pages, most=100)
    assert len(lines.lines) <= 131
    assert "always" not in lines.apply(pages[3]).text


def test_broken_urls_have_no_site():
    assert taught(Record("a", "x", {"url": "http://[broken"})).pages == {}


def test_the_stage_takes_site_lines_out_once_all_pages_are_there(project):
    import json
    from pathlib import Path

    rows = [
        {"text": f"The Daily News of the day\nStory number {number} is about a fox.", "url": f"https://a.org/{number}"}
        for number in range(6)
    ]
    Path("pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = project({"type": "files", "path": "pages.jsonl"}, filters=[{"type": "boilerplate"}])
    assert [record.text for record in done.records] == [f"Story number {number} is about a fox." for number in range(6)]
