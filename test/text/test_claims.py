"""Numbers, units, names and quotes are found as they are written."""

from src.text import claims


def test_numbers_and_what_they_come_to():
    text = "It is −3.5 °C at 1,024 hPa, 2e3 in all, not v2.1x."
    assert claims.numbers(text) == ["−3.5", "1,024", "2e3"]
    assert [claims.value(each) for each in claims.numbers(text)] == [-3.5, 1024, 2000]
    assert [claims.decimals(each) for each in ("21", "21.40", "2e3")] == [0, 2, 12]
    assert claims.units(text) == ["°C", "hPa"]
    assert claims.digits("2026-11-21") == ["2026", "11", "21"]
    assert claims.parts_of_dates("2026-11-21T14:30, 21.4") == ["2026", "11", "21", "14", "30"]


def test_names_are_words_with_a_capital_within_a_sentence():
    text = "Tomorrow in New York it rains. Take the train to Köln, I'd say: Mr Clemens said 'no' to Ann-Marie."
    assert claims.names(text) == ["New York", "Köln", "Clemens", "Ann-Marie"]
    assert claims.names("- Berlin is wet.\n- Rome is dry.") == []
    assert claims.names("") == []


def test_quotes_of_several_kinds():
    assert claims.quotes('He said "no rain", „kein Regen“, «pas de pluie» and “none”.') == ["no rain", "kein Regen", "pas de pluie", "none"]


def test_a_date_has_a_month_and_a_weekday():
    assert claims.calendar('{"day": "2026-11-21", "bad": "2026-13-45"}') == {"Saturday", "November", "Sat", "Nov"}
