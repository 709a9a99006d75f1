"""Makes scenes up: who asks what about where, what the tools say, and the answer that states only that."""

from src.build.weather_dialogues.draws import Draws, reason
from src.build.weather_dialogues.scene import Kind, Scene, table, twins


class Play(Draws):
    """Draws scenes, each from a request to its last answer."""

    def scene(self, kind: Kind) -> Scene:
        """Draw a scene of a kind."""
        makers = {
            "single": (self.at_coordinates, self.whereabouts),
            "multi_step": (self.looked_up, self.looked_up, self.followed_up),
            "parallel": (self.of_several, self.compared, self.now_and_then),
            "ask_back": (self.place_missing, self.day_missing, self.two_of_a_name),
            "error": (self.not_found, self.misspelt, self.out_of_order, self.half_answered),
            "none": (self.talk, self.no_tool),
        }[kind]
        needs = {self.compared: {"get_forecast"}, self.now_and_then: {"get_forecast", "get_history"}, self.day_missing: {"get_history"}}
        passing = (self.whereabouts, self.not_found, self.talk) if self.pointed else ()
        fitting = [make for make in makers if needs.get(make, set()) <= set(self.tools) and make not in passing]
        return self.chance.choice(fitting)()

    # single: one call is enough

    def at_coordinates(self) -> Scene:
        """The user gives the coordinates."""
        topic, place, scene = self.topic(), self.place(), Scene("single")
        given = self.chance.choice(table("talk")["coordinates"]).format(latitude=place.latitude, longitude=place.longitude)
        ask, arguments = self.ask(topic, given)
        call = self.asked(topic, arguments, place)
        scene.turns.append(ask)
        scene.call(call)
        scene.turns.append(self.told(topic, table("talk")["coordinates_called"], call))
        return scene

    def whereabouts(self) -> Scene:
        """The place itself is asked about."""
        place, scene = self.place(), Scene("single")
        ask, answer = self.chance.choice(table("talk")["where_is"][self.phrasing])
        scene.turns.append(self.worded(ask.format(place=place.name)))
        scene.call(self.search(place))
        scene.turns.append(answer.format(**place.found()))
        return scene

    # multi_step: the place first, then its weather

    def looked_up(self) -> Scene:
        """A place is looked up, its coordinates are passed on."""
        scene, topic, place = Scene("multi_step"), self.topic(), self.place()
        ask, arguments = self.ask(topic, place.name)
        scene.turns.append(ask)
        self.tell(scene, topic, arguments, place)
        return scene

    def followed_up(self) -> Scene:
        """The same of another place."""
        topic, (place, other), scene = self.topic(), self.some_places(2), Scene("multi_step")
        ask, arguments = self.ask(topic, place.name)
        scene.turns.append(ask)
        self.tell(scene, topic, arguments, place)
        scene.turns.append(self.chance.choice(table("talk")["more"]).format(place=other.name))
        self.tell(scene, topic, arguments, other)
        return scene

    # parallel: several calls at once

    def of_several(self) -> Scene:
        """Two or three places in one request."""
        topic, where, scene = self.topic(), self.some_places(self.chance.choice((2, 2, 3))), Scene("parallel")
        names = [place.name for place in where]
        ask, arguments = self.ask(topic, f"{', '.join(names[:-1])} and {names[-1]}")
        scene.turns.append(ask)
        scene.call(*map(self.search, where))
        calls = [self.asked(topic, arguments, place) for place in where]
        scene.call(*calls)
        told = [self.told(topic, place.name, call) for place, call in zip(where, calls, strict=True)]
        scene.turns.append(self.chance.choice(table("talk")["and"]).join(told))
        return scene

    def compared(self) -> Scene:
        """Which of two has more of something."""
        topic, (one, other), scene = self.chance.choice(table("talk")["compare"]), self.some_places(2), Scene("parallel")
        ask = self.chance.choice(topic["ask_unseen" if self.phrasing == "unseen" else "ask"]).format(a=one.name, b=other.name)
        scene.turns.append(self.worded(ask))
        scene.call(self.search(one), self.search(other))
        calls = [self.asked({"tool": "get_forecast", **topic}, topic["arguments"], place) for place in (one, other)]
        scene.call(*calls)
        block = "current" if "current" in topic["arguments"] else "daily"
        found = [call.result[block][topic["by"]] for call in calls]
        values = [value[0] if isinstance(value, list) else value for value in found]
        shown = [f"{value} {calls[0].result[f'{block}_units'][topic['by']]}" for value in values]
        least, most = (0, 1) if values[0] < values[1] else (1, 0)
        names = (one.name, other.name)
        if values[0] == values[1]:
            same = self.chance.choice(table("talk")["same"]).format(place=f"{names[0]} as {names[1]}", high=shown[0])
            scene.turns.append(same)
        else:
            words = {"most": names[most], "least": names[least], "high": shown[most], "low": shown[least]}
            scene.turns.append(self.chance.choice(topic["answer"]).format(**words))
        return scene

    def now_and_then(self) -> Scene:
        """Today against a day of the past: two services at once."""
        words, place, scene, (day, said) = table("talk")["than_then"], self.place(), Scene("parallel"), self.day()
        ask = self.chance.choice(words["ask_unseen" if self.phrasing == "unseen" else "ask"])
        scene.turns.append(self.worded(ask.format(place=place.name, date=said)))
        scene.call(self.search(place))
        daily = {"daily": ["temperature_2m_max"], "timezone": "auto"}
        now = self.asked({"tool": "get_forecast"}, {**daily, "forecast_days": 1}, place)
        then = self.asked({"tool": "get_history"}, {"start_date": day, "end_date": day, **daily}, place)
        scene.call(now, then)
        shown = [
            f"{call.result['daily']['temperature_2m_max'][0]} {call.result['daily_units']['temperature_2m_max']}" for call in (now, then)
        ]
        scene.turns.append(self.chance.choice(words["answer"]).format(place=place.name, now=shown[0], then=shown[1]))
        return scene

    # ask_back: something is missing

    def place_missing(self) -> Scene:
        """The user does not say where."""
        topic, place, scene, talk = self.topic(), self.place(), Scene("ask_back"), table("talk")
        ask, arguments = self.ask(topic, "\0")
        somewhere = self.chance.choice(talk["somewhere"][self.phrasing])
        for preposition in ("in ", "over ", "off ", "for ", "of ", ""):
            ask = ask.replace(f"{preposition}\0", somewhere)
        scene.turns += [ask, self.chance.choice(talk["where"]), self.chance.choice(talk["answering"][self.phrasing]).format(it=place.name)]
        self.tell(scene, topic, arguments, place)
        return scene

    def day_missing(self) -> Scene:
        """The user does not say when."""
        topic, place, scene, talk = self.topic("get_history"), self.place(), Scene("ask_back"), table("talk")
        ask, arguments = self.ask(topic, place.name, said="\0")
        sometime = self.chance.choice(talk["sometime"][self.phrasing])
        ask = ask.replace("on \0", sometime).replace("\0", sometime)
        _, said = self.day(arguments["start_date"])
        scene.turns += [ask, self.chance.choice(talk["when"]), self.chance.choice(talk["answering"][self.phrasing]).format(it=said)]
        self.tell(scene, topic, arguments, place)
        return scene

    def two_of_a_name(self) -> Scene:
        """The search finds two places, and the user says which."""
        topic, pair, scene, talk = self.topic(), self.chance.choice(twins(self.values)), Scene("ask_back"), table("talk")
        ask, arguments = self.ask(topic, pair[0].name)
        scene.turns.append(ask)
        scene.call(self.search(*pair))
        listed = " or ".join(f"{place.name} in {place.admin1}, {place.country}" for place in pair)
        scene.turns.append(self.chance.choice(talk["which"]).format(name=pair[0].name, places=listed))
        place = self.chance.choice(pair)
        scene.turns.append(
            self.chance.choice(talk["that_one"]).format(region=self.chance.choice((place.admin1, place.country)), name=place.name)
        )
        call = self.asked(topic, arguments, place)
        scene.call(call)
        scene.turns.append(self.told(topic, place.name, call))
        return scene

    # error: a service says no

    def not_found(self) -> Scene:
        """There is no such place."""
        scene, name = Scene("error"), self.chance.choice(table("talk")["nowhere"][self.values])
        scene.turns.append(self.ask(self.topic(), name)[0])
        scene.call(self.search(name=name))
        scene.turns.append(self.chance.choice(table("talk")["lost"]).format(name=name))
        return scene

    def misspelt(self) -> Scene:
        """There is no such place, and the user names another."""
        topic, place, scene, name = self.topic(), self.place(), Scene("error"), self.chance.choice(table("talk")["nowhere"][self.values])
        ask, arguments = self.ask(topic, name)
        scene.turns.append(ask)
        scene.call(self.search(name=name))
        scene.turns += [self.chance.choice(table("talk")[key]).format(name=name, it=place.name) for key in ("lost", "corrected")]
        self.tell(scene, topic, arguments, place)
        return scene

    def out_of_order(self) -> Scene:
        """The service fails."""
        topic, place, scene = self.topic(), self.place(), Scene("error")
        ask, arguments = self.ask(topic, place.name)
        scene.turns.append(ask)
        scene.call(self.search(place))
        call = self.failed(topic, arguments, place)
        scene.call(call)
        scene.turns.append(self.chance.choice(table("talk")["failed"]).format(reason=reason(call)))
        return scene

    def half_answered(self) -> Scene:
        """Of two calls at once one fails."""
        topic, (one, other), scene = self.topic(), self.some_places(2), Scene("error")
        ask, arguments = self.ask(topic, f"{one.name} and {other.name}")
        scene.turns.append(ask)
        scene.call(self.search(one), self.search(other))
        good, bad = self.asked(topic, arguments, one), self.failed(topic, arguments, other)
        scene.call(good, bad)
        told = self.told(topic, one.name, good)
        scene.turns.append(self.chance.choice(table("talk")["partly"]).format(told=told, place=other.name, reason=reason(bad)))
        return scene

    # none: no call

    def talk(self) -> Scene:
        """Nothing to look up."""
        ask, answer = self.chance.choice(table("talk")["chat"]["unseen" if "unseen" in (self.values, self.phrasing) else "seen"])
        return Scene("none", [ask, answer])

    def no_tool(self) -> Scene:
        """The tool that it would take is not at hand."""
        topic = self.topic()
        scene = Scene("none", [self.ask(topic, self.place().name)[0], self.chance.choice(table("talk")["refuse"])])
        scene.away = {topic["tool"]}
        return scene
