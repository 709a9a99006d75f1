"""A conversation in the terminal and through pipes."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.serve.chat import chat, read_line, write_text
from src.serve.embedded import Embedded
from src.serve.partner import Own, Remote, partner


class Echo:
    """Says what it heard last."""

    name, where = "echo", "in a test"

    def __init__(self, *, trouble: BaseException | None = None) -> None:
        self.heard = []
        self.trouble = trouble
        self.closed = 0

    def answer(self, messages):
        self.heard.append(messages)
        try:
            yield "you said "
            if self.trouble and "trouble" in messages[-1]["content"]:
                raise self.trouble
            yield messages[-1]["content"]
        finally:
            self.closed += 1


def talk(who, *lines, interactive=True, **options):
    """Let someone type `lines` (an exception is raised in their place); return all that is written."""
    typed, written = iter(lines), []

    def read(prompt):
        line = next(typed, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    chat(who, read=read, write=written.append, interactive=interactive, **options)
    return "".join(written)


def test_each_turn_knows_those_before():
    echo = Echo()
    text = talk(echo, "one", "", "two")
    assert text.splitlines()[1:] == ["you said one", "you said two", ""] and text.startswith("echo (in a test)")
    assert [each["content"] for each in echo.heard[1]] == ["one", "you said one", "two"]


def test_reset_forgets_and_system_sets_the_prompt_of_a_new_conversation():
    echo = Echo()
    text = talk(echo, "one", "/reset", "two", "/system Be brief.", "three", "/system", "four", "/exit", "never")
    assert [[each["content"] for each in heard] for heard in echo.heard] == [["one"], ["two"], ["Be brief.", "three"], ["four"]]
    assert echo.heard[2][0]["role"] == "system" and text.count("(a new conversation)") == 3


def test_an_unknown_command_lists_them_and_a_path_is_no_command():
    echo = Echo()
    assert "/reset forgets" in talk(echo, "/help").splitlines()[1]
    talk(echo, "/etc/passwd", "/why is that")
    assert [heard[-1]["content"] for heard in echo.heard] == ["/etc/passwd", "/why is that"]


def test_ctrl_c_stops_an_answer_and_what_was_said_stays():
    echo = Echo(trouble=KeyboardInterrupt())
    text = talk(echo, "trouble", "two", KeyboardInterrupt(), "three")
    assert "you said  …\n" in text and "(Ctrl-D or /exit leaves)" in text and echo.closed == 3
    assert [each["content"] for each in echo.heard[1]] == ["trouble", "you said ", "two"]


def test_an_error_is_told_and_what_led_to_it_forgotten():
    echo = Echo(trouble=MlxError("too long", "say less"))
    text = talk(echo, "one", "trouble", "two")
    assert "(error: too long (say less))" in text
    assert [each["content"] for each in echo.heard[2]] == ["one", "you said one", "two"]


def test_one_message_gives_the_answer_alone():
    assert talk(Echo(), message="Hello") == "you said Hello\n"
    with pytest.raises(MlxError):
        talk(Echo(trouble=MlxError("no")), message="trouble")


def test_through_pipes_only_answers_are_written_and_errors_end_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n/reset\ntwo"))
    chat(Echo(), read=read_line, write=write_text, interactive=False)
    assert capsys.readouterr().out == "you said one\nyou said two\n"
    for trouble in (MlxError("no"), KeyboardInterrupt()):
        with pytest.raises(type(trouble)):
            talk(Echo(trouble=trouble), "trouble", interactive=False)
    with pytest.raises(KeyboardInterrupt):
        talk(Echo(), KeyboardInterrupt(), interactive=False)


def test_at_a_terminal_the_line_is_asked_for(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: f"typed at {prompt}")
    assert read_line("> ") == "typed at > "


def test_a_model_cannot_steer_the_terminal():
    echo = Echo()
    assert "\x1b" not in talk(echo, "\x1b[2Jclear\tit\n") and "\x1b" in talk(echo, "\x1b[2J", interactive=False)


def test_a_running_server_is_found_and_talked_to(web, keeper):
    told = Path("data/keeper/serve/server.json")
    told.parent.mkdir(parents=True)
    told.write_text(json.dumps({"url": keeper}))
    who = partner("keeper")
    assert isinstance(who, Remote) and who.name == "keeper" and who.where == keeper
    assert talk(who, message="Hello") == web.greeted + "\n"
    assert talk(partner("other", f"{keeper}/v1"), "/system Be brief.", "Hello", "/exit").splitlines()[-1] == "Hi."
    assert "tokens" in talk(who, "lamp " * 500)


def test_without_a_server_the_trained_model_answers_in_this_process(web, trained_folder):
    shutil.copytree(trained_folder, "checkpoint/keeper/train")
    told = Path("data/keeper/serve/server.json")
    told.parent.mkdir(parents=True)
    told.write_text(json.dumps({"url": "http://127.0.0.1:1"}))  # left by one that was killed
    who = partner("keeper")
    assert isinstance(who, Own) and talk(who, message="Hello") == web.greeted + "\n"
    assert "context holds 256" in talk(who, "lamp " * 500)


def test_without_either_the_next_command_is_named():
    with pytest.raises(MlxError) as error:
        partner("keeper")
    assert "mlx train" in error.value.hint


@pytest.mark.parametrize(("url", "words"), [("http://127.0.0.1:1", "no server at"), ("ftp://x", "no address"), ("http://", "no address")])
def test_a_wrong_url_is_an_error(url, words):
    with pytest.raises(MlxError, match=words):
        partner("keeper", url)


def test_a_server_of_another_kind_is_an_error(web):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"<html>"})

    import threading

    from src.serve.server import Server, listen, url

    server, listening = Server(app), listen("127.0.0.1", 0)
    server.config.lifespan = "off"
    address = url(listening)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with pytest.raises(MlxError, match="does not speak like"):
            Remote(address)
    finally:
        server.should_exit = True
        thread.join()


def test_a_model_that_loads_is_waited_for_up_to_a_point(web):
    import threading

    loaded = threading.Event()
    with web.running(Embedded(lambda: loaded.wait(20), name="keeper", queue=1)) as address:
        with pytest.raises(MlxError, match="still loading"):
            Remote(address, patience=0.3)
        threading.Timer(0.3, loaded.set).start()
        assert Remote(address).name == "keeper"


def test_a_server_that_breaks_in_an_answer_is_an_error(web, caplog):
    class Broken:
        def prompt(self, request):
            return [1]

        def stream(self, prompt, fields):
            yield "so far "
            raise RuntimeError("inside")

    with web.running(Embedded(Broken, name="keeper", queue=1)) as address:
        text = talk(Remote(address), "Hello")
        assert "so far " in text and "(error: the server failed; its log says why)" in text
