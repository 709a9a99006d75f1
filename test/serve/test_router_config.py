"""The shipped router, as an editor uses it: requests in Cline's shape, to a server that speaks as Ollama was recorded to."""

import json
from pathlib import Path

import pytest

from src import pipeline
from src.serve.open_gateway import open_gateway

from .engines.ollama_stand_in import start

ROOT = Path(__file__).parents[2]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS = """You are Cline, a highly skilled software engineer.

====

TOOL USE

You have access to a set of tools, one per message, in XML:
<read_file>
<path>File path here</path>
</read_file>
<execute_command>
<command>pytest, refactor, traceback</command>
</execute_command>
"""
SYSTEM = TOOLS + "RULES\n\n- Your current working directory is /home/me/project. You cannot cd into another one.\n" * 400
ENVIRONMENT = "<environment_details>\n# VSCode Visible Files\nsrc/app.py\n\n# Current Mode\nACT MODE\n</environment_details>"


def user(*texts, image=False):
    parts = [{"type": "text", "text": text} for text in (*texts, ENVIRONMENT)]
    return {
        "role": "user",
        "content": parts + ([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}] if image else []),
    }


def cline(*turns, **more):
    """As Cline asks: streamed, its long system prompt first, tools in the text."""
    options = {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    return {"model": "cline-memory-router", "messages": [{"role": "system", "content": SYSTEM}, *turns], **options, **more}


@pytest.fixture(scope="module")
def ollama():
    server, state = start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def editor(web, ollama, tmp_path_factory):
    """Address of the router, with words for meanings and quick swaps; its memory has tests of its own."""
    changes = ["serve.memory=null", "serve.routes.classifier.embedder.type=hashing", "serve.routes.classifier.threshold=0.05"]
    changes += ["serve.residency.linger=0", "serve.residency.batch=0.5", f"serve.routes.examples={ROOT}/config/router/examples.yaml"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_BASE_URL", ollama.url)
        config = pipeline.load_project(ROOT / "config/router.yaml", changes).sections["serve"]
    gateway = open_gateway(config, None, project="router", output=tmp_path_factory.mktemp("router"), beside={})
    with web.running(gateway, max_body=int(config.max_body_mb * 1e6)) as address:
        web.until(lambda: gateway.router.tasks.state == "ready", 60)
        yield address


def answer(web, editor, body):
    """Route, text and usage of a streamed answer."""
    status, headers, text = web.ask(editor, body)
    assert status == 200, text
    events = web.events(text)
    said = "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"])
    return headers["x-mlx-route"], said, events[-1]["usage"]


def test_a_task_goes_where_its_words_say_and_tools_of_the_editor_do_not_count(web, editor, ollama):
    route, said, usage = answer(web, editor, cline(user("<task>\nFix the bug in this Python function\n</task>")))
    assert route.startswith("coder; task coding (0.")
    assert said == "Hello from qwen2.5-coder:32b. "
    assert usage["completion_tokens"] == 3
    sent = ollama.asked[-1][1]
    assert sent["options"]["num_ctx"] == 131072
    assert sent["messages"][0]["content"] == SYSTEM
    assert sent["messages"][1]["content"].endswith(ENVIRONMENT)
    route, said, _ = answer(web, editor, cline(user("<task>\nHello, how are you?\n</task>")))
    assert route.startswith("fast; task fast")  # though its system prompt says pytest, refactor and traceback
    assert said == "Hello from qwen3:30b-a3b. "


def test_a_conversation_stays_where_its_task_is_while_tools_answer(web, editor):
    talk = [user("<task>\nRefactor the parser\n</task>"), {"role": "assistant", "content": "<read_file>\n<path>a.py</path>\n</read_file>"}]
    talk += [user("[read_file for 'a.py'] Result:", "What is the capital of Portugal? Hello, thanks.")]
    assert answer(web, editor, cline(*talk))[0] == "coder; rule 4: keyword"


def test_a_long_conversation_goes_to_the_model_that_holds_it(web, editor):
    long = "x = compute(41) + 1  # and so on\n" * 4000
    assert answer(web, editor, cline(user("<task>\nHello\n</task>", long)))[0] == "coder; rule 3: longer_than"


def test_an_image_goes_to_a_model_that_has_to_be_pulled(web, editor):
    status, headers, body = web.ask(editor, cline(user("<task>\nWhat is wrong with this page?\n</task>", image=True)))
    assert status == 404
    assert headers["x-mlx-route"] == "analyst; rule 1: images"
    assert body["error"]["code"] == "model_not_pulled"
    assert "ollama pull llama4:16x17b" in body["error"]["message"]


def test_what_is_loaded_keeps_to_the_card(web, editor, ollama):
    for name, model in (("fast", "qwen3:30b-a3b"), ("coder", "qwen2.5-coder:32b")) * 2:
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        assert web.ask(editor, body)[2]["choices"][0]["message"]["content"] == f"Hello from {model}. "
        assert set(ollama.loaded) == {model}  # of 14 GB each, on 15


def test_models_are_listed_with_the_routed_name_first(web, editor):
    names = [each["id"] for each in web.ask(editor, path="/v1/models", method="GET")[2]["data"]]
    assert names == ["cline-memory-router", "fast", "coder", "analyst"]
    status, _, body = web.ask(editor, {**cline(user("Hi")), "model": "gpt-5"})
    assert status == 404
    assert json.dumps(names)[1:-1].replace('"', "'") in body["error"]["message"]
