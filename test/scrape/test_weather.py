"""The recorded answers of ../shared/data/open_meteo, served by a loopback server."""

import json

import pytest

from src.core.errors import ConfigError, MlxError

FORECAST = {"latitude": 53.1875, "longitude": 50.125, "current": {"temperature_2m": 18.5}}


def weather(site, *places: object, **more: object) -> dict:
    urls = {"url": f"{site.url}/v1/forecast", "archive_url": f"{site.url}/v1/archive", "geocoding_url": f"{site.url}/v1/search"}
    return {"type": "open_meteo", "places": places, "delay": 0, "timeout": 5, "allow_private": True} | urls | more


HERE = {"name": "Samara", "latitude": 53.2, "longitude": 50.1}
ASKED = (
    "/v1/forecast?latitude=53.2&longitude=50.1&current=temperature_2m,apparent_temperature,relative_humidity_2m,weather_code,"
    "wind_speed_10m,wind_direction_10m&daily=weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum&forecast_days=7&timezone=auto"
)


def test_a_forecast_is_a_record_with_its_tool_and_arguments(project, site) -> None:
    site.put(ASKED, json.dumps(FORECAST).encode())
    done = project(weather(site, HERE), languages=["fr"], min_words=50)
    (record,) = done.records
    assert record.id == "open_meteo:forecast:Samara"
    assert json.loads(record.text) == FORECAST
    assert record.meta["tool"] == "get_forecast"
    assert record.meta["arguments"]["latitude"] == 53.2
    assert record.meta["url"] == site.url + ASKED
    assert record.meta["licence"].startswith("CC BY 4.0")


def test_a_name_is_looked_up_first(project, site, shared) -> None:
    recorded = shared / "open_meteo/recorded"
    site.put("/v1/search?name=Samara&count=5&language=en&format=json", (recorded / "geocoding_samara_en.json").read_bytes())
    site.put("/v1/search?name=Nowhere&count=5&language=en&format=json", (recorded / "geocoding_empty.json").read_bytes())
    forecast = (recorded / "forecast_samara_2026-09-15.json").read_bytes()
    site.put(ASKED.replace("53.2&", "53.20767&").replace("50.1&", "50.13553&"), forecast)
    done = project(weather(site, "Samara", "Nowhere"))
    assert [record.id for record in done.records] == ["open_meteo:geocoding:Samara", "open_meteo:forecast:Samara"]
    assert [record.meta["tool"] for record in done.records] == ["find_place", "get_forecast"]
    assert json.loads(done.records[1].text) == json.loads(forecast)
    assert done.reasons == [("open_meteo:geocoding:Nowhere", "not_found")]


def test_the_archive(project, site) -> None:
    url = "/v1/archive?latitude=53.2&longitude=50.1&daily=rain_sum&start_date=2024-01-01&end_date=2024-01-03&timezone=GMT"
    site.put(url, json.dumps(FORECAST).encode())
    done = project(weather(site, HERE, kind="archive", start="2024-01-01", end="2024-01-03", daily=["rain_sum"], timezone="GMT"))
    assert done.records[0].meta["tool"] == "get_past_weather"


def reasons(shared) -> dict:
    return json.loads((shared / "open_meteo/recorded/error_reasons.json").read_text())


def test_error_bodies_are_drops_with_what_they_say(project, site, shared) -> None:
    recorded = (shared / "open_meteo/recorded/error_400_latitude.json").read_bytes()
    places = [{"name": name, "latitude": number, "longitude": 0} for number, name in enumerate("abcdefg")]
    said = {"error": True, "reason": reasons(shared)["429"][1]}
    good = json.dumps(FORECAST).encode()
    answers = [
        (400, {}, recorded), (429, {}, json.dumps(said).encode()), (200, {}, recorded), b"{half", b"7", (404, {}, b""), good
    ]  # fmt: skip
    for number, answer in enumerate(answers):
        site.put(ASKED.replace("53.2&", f"{number}.0&").replace("50.1&", "0.0&"), answer)
    done = project(weather(site, *places))
    assert [reason for _, reason in done.reasons] == ["bad_request", "rate_limited", "bad_request", "bad_json", "bad_json", "not_found"]
    assert done.drops[0]["detail"].startswith("Latitude must be in range")
    assert done.drops[1]["detail"].startswith("Hourly API request limit")
    assert len(site.asked) == 7  # none of them was worth another try


def test_a_passing_refusal_is_waited_for(project, site, shared, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    minutely = json.dumps({"error": True, "reason": reasons(shared)["429"][2]}).encode()
    site.put(
        ASKED, (429, {"Retry-After": "7"}, b""), (429, {}, minutely), (503, {}, b'{"reason":"overloaded"}'), json.dumps(FORECAST).encode()
    )
    done = project(weather(site, HERE))
    assert len(done.records) == 1
    assert [pause for pause in slept if pause > 1] == [7, 61]


def test_an_overload_that_lasts_is_a_drop(project, site) -> None:
    site.put(ASKED, (503, {}, b'{"error":true,"reason":"The service is overloaded"}'))
    site.put(ASKED.replace("53.2&", "1.0&"), json.dumps(FORECAST).encode())
    done = project(weather(site, HERE, {"name": "b", "latitude": 1, "longitude": 50.1}))
    assert [(drop["reason"], drop["detail"]) for drop in done.drops] == [("overloaded", "The service is overloaded")]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"places": [{"name": " "}]}, "needs a name"),
        ({"places": [{"latitude": 3}]}, "both latitude and longitude"),
        ({"places": []}, "at least 1 item"),
        ({"kind": "archive"}, "needs `start` and `end`"),
        ({"start": "2024-01-02", "end": "2024-01-01"}, "stand together"),
        ({"start": "2024-01-02"}, "stand together"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(project, more, fault) -> None:
    with pytest.raises(ConfigError, match=fault):
        project({"type": "open_meteo", "places": ["Samara"]} | more)


def open_weather(site, *places: object, **more: object) -> dict:
    return {"type": "openweathermap", "places": places, "url": site.url, "delay": 0, "timeout": 5, "allow_private": True} | more


def test_openweathermap_takes_its_key_from_the_environment_and_shows_it_nowhere(project, site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MlxError, match="OPENWEATHERMAP_API_KEY is not set"):
        project(open_weather(site, "Samara,RU"))
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", "hush-hush")
    site.put("/weather?q=Samara%2CRU&units=metric&appid=hush-hush".replace("%2C", ","), b'{"main": {"temp": 18.5}}')
    site.put("/weather?lat=1.0&lon=2.0&units=metric&appid=hush-hush", (404, {}, b'{"cod":"404","message":"city not found"}'))
    site.put("/weather?lat=3.0&lon=2.0&units=metric&appid=hush-hush", (401, {}, b'{"cod":401,"message":"Invalid API key."}'))
    done = project(open_weather(site, "Samara,RU", {"latitude": 1, "longitude": 2}, {"latitude": 3, "longitude": 2}))
    assert [(record.id, record.meta["tool"]) for record in done.records] == [("openweathermap:weather:Samara,RU", "get_current_weather")]
    assert [(reason, drop["detail"]) for (_, reason), drop in zip(done.reasons, done.drops, strict=True)][1] == (
        "not_allowed",
        "Invalid API key.",
    )
    assert done.reasons[0] == ("openweathermap:weather:1,2", "not_found")
    assert not any(b"hush" in path.read_bytes() for path in done_files())


def done_files():
    from pathlib import Path

    return [path for path in Path().rglob("*") if path.is_file()]
