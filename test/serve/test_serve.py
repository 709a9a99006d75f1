"""The stage: its settings, where it says it is, how it ends."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fastapi import FastAPI

from src.core.errors import ConfigError, MlxError
from src.core.manifest import Manifest, Origin
from src.serve import serve
from src.serve.server import Server, failed_report, lineage, listen, url


@pytest.fixture
def project(trained_folder, finish):
    """A project whose model is trained."""
    shutil.copytree(trained_folder, "checkpoint/keeper/train")
    Path("keeper.yaml").write_text("name: keeper\ntrain: {}\nserve: {port: 0}\n")
    return Path("keeper.yaml")


@pytest.fixture
def started(project):
    """Start the command, and end it should the test not."""
    running = []

    def start(*settings):
        log = Path("out.log").open("w")  # noqa: SIM115
        program = "import sys; from src.core.log import console; from src.serve import serve; console(); serve(serve.load(*sys.argv[1:]))"
        running.append(subprocess.Popen([sys.executable, "-c", program, str(project), *settings], stdout=log, stderr=log))
        log.close()
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.wait()


def announced(web, process):
    file = Path("data/keeper/serve/server.json")
    web.until(lambda: file.exists() or process.poll() is not None, 60)
    assert process.poll() is None, Path("out.log").read_text()
    return json.loads(file.read_text())


def test_it_says_where_it_is_and_ends_in_peace(web, started, finish):
    finish(Path("data/keeper/scrape"), stage="scrape", fingerprint="aaaa")
    origin = {"records": (Origin(path="data/keeper/scrape", fingerprint="aaaa"),)}
    finish(Path("data/keeper/build"), stage="build", fingerprint="bbbb", inputs=origin)
    manifest = Path("checkpoint/keeper/train/manifest.json")
    noted = json.loads(manifest.read_text()) | {"inputs": {"dataset": [{"path": "data/keeper/build", "fingerprint": "bbbb"}]}}
    manifest.write_text(json.dumps(noted))
    process = started()
    told = announced(web, process)
    assert told["pid"] == process.pid and told["model"] == "keeper"
    assert told["lineage"] == {"train": "f00d", "build": "bbbb", "scrape": "aaaa"}
    web.until(lambda: web.ask(told["url"], path="/health", method="GET")[0] == 200, 60)
    assert web.ask(told["url"], web.chat())[2]["choices"][0]["message"]["content"] == web.greeted
    assert web.ask(told["url"], web.chat(), host="evil.example")[0] == 403

    with pytest.raises(MlxError, match="another mlx"):
        serve(serve.load("keeper.yaml"))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(web.ask(told["url"], web.chat("Count"))[2]))
    asking.start()
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, Path("out.log").read_text()
    asking.join()
    assert answers[0]["choices"][0]["message"]["content"].startswith("0 1 2 3"), "the answer under way was not finished"
    assert [path.name for path in Path("data/keeper/serve").iterdir()] == [".lock"]
    log = Path("log/keeper/serve.log").read_text()
    assert f"{told['url']}/v1" in log and "chat 200" in log and "Traceback" not in Path("out.log").read_text()


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_no_failure(web, which):
    program = (
        "from fastapi import FastAPI; from src.serve.server import Server, listen, url\n"
        "listening = listen('127.0.0.1', 0); print(url(listening), flush=True); Server(FastAPI()).run(sockets=[listening])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert web.ask(process.stdout.readline().strip(), path="/", method="GET")[0] == 404
        process.send_signal(which)
        assert process.wait(20) == 0 and process.stderr.read() == ""


def test_a_model_with_other_tokens_is_refused(project):
    tokenizer = Path("checkpoint/keeper/train/adapter/chat_template.jinja")
    tokenizer.write_text(tokenizer.read_text().replace("<|im_start|>user", "<|im_start|>USER").replace("<tools>", "<TOOLS>"))
    with pytest.raises(MlxError, match="chat template or tokenizer is not the one that was trained with"):
        serve(serve.load("keeper.yaml"))
    assert not Path("data/keeper/serve/server.json").exists()


def test_it_has_to_be_trained_first():
    Path("keeper.yaml").write_text("name: keeper\ntrain: {}\nserve: {}\n")
    with pytest.raises(MlxError) as error:
        serve(serve.load("keeper.yaml"))
    assert "mlx train keeper.yaml" in error.value.hint


def test_another_machine_is_let_in_only_on_purpose():
    Path("keeper.yaml").write_text("name: keeper\ntrain: {}\nserve:\n  host: 0.0.0.0\n")
    with pytest.raises(ConfigError, match="allow_remote: true"):
        serve.load("keeper.yaml")
    serve.load("keeper.yaml", "serve.allow_remote=true")
    for host in ("localhost", "127.0.0.5", "::1"):
        serve.load("keeper.yaml", f"serve.host={host}")


def test_a_failed_evaluation_is_told_and_an_engine_that_is_given_up_ends_the_command(project, finish, caplog):
    of = {"model": (Origin(path="checkpoint/keeper/train", fingerprint="f00d"),)}
    finish(Path("data/keeper/eval"), stage="eval", info={"verdict": "fail"}, inputs=of)
    program = Path("vllm").resolve()
    program.write_text("#!/bin/sh\necho out of memory; exit 4\n")
    program.chmod(0o755)
    with pytest.raises(MlxError, match=r"vllm ended with code 4\n  out of memory") as error:
        serve(serve.load("keeper.yaml", "serve.engine.type=vllm", f"serve.engine.executable={program}"), force=True)
    assert "log/keeper/vllm.log" in error.value.hint and "data/keeper/eval/report.md" in caplog.text
    assert not Path("data/keeper/serve/server.json").exists()


def test_a_taken_port_is_an_error_with_a_way_out():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MlxError, match=rf"cannot listen on 127\.0\.0\.1:{port}") as error:
            listen("127.0.0.1", port)
        assert "serve.port=0" in error.value.hint
    with pytest.raises(MlxError, match=r"cannot listen on 203\.0\.113\.9"):
        listen("203.0.113.9", 0)


def test_the_address_is_one_that_clients_here_can_use():
    with listen("0.0.0.0", 0) as everywhere:
        assert url(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
        with listen("::1", 0) as six:
            assert url(six).startswith("http://[::1]:")


def test_lineage_ends_where_an_output_was_made_anew(finish):
    finish(Path("build"), stage="build", fingerprint="new")
    finish(Path("train"), inputs={"dataset": (Origin(path="build", fingerprint="old"),)})
    assert lineage(Path("train")) == {"train": "f00d"}


def test_a_failed_evaluation_of_this_model_is_found(finish, web):
    of = {"model": (Origin(path="train", fingerprint="f00d"),)}
    assert failed_report(Path("eval"), "f00d") is None
    finish(Path("eval"), stage="eval", info={"verdict": "fail"}, inputs=of)
    assert failed_report(Path("eval"), "f00d") == Path("eval/report.md")
    assert failed_report(Path("eval"), "other") is None
    finish(Path("eval"), stage="eval", info={"verdict": "pass"}, inputs=of)
    assert failed_report(Path("eval"), "f00d") is None


def test_a_model_that_failed_its_gates_is_served_only_by_force(finish, trained_folder, monkeypatch, caplog):
    shutil.copytree(trained_folder, "checkpoint/keeper/train")
    of = {"model": (Origin(path="train", fingerprint=Manifest.read(Path("checkpoint/keeper/train")).fingerprint),)}
    finish(Path("data/keeper/eval"), stage="eval", info={"verdict": "fail"}, inputs=of)
    Path("k.yaml").write_text("name: keeper\ntrain: {}\nserve: {port: 0}\n")
    with pytest.raises(MlxError, match=r"failed its gates: see data/keeper/eval/report\.md") as refused:
        serve(serve.load("k.yaml"))
    assert "--force" in refused.value.hint
    monkeypatch.setattr(Server, "run_on", lambda self, listening: listening.close())
    serve(serve.load("k.yaml"), force=True)
    assert "this model failed its evaluation" in caplog.text


@pytest.mark.parametrize("interrupted", [True, False])
def test_in_a_notebook_it_serves_until_it_is_interrupted(web, monkeypatch, interrupted):
    server, listening = Server(FastAPI()), listen("127.0.0.1", 0)
    address = url(listening)
    join = threading.Thread.join
    asked = []

    def joined(thread, *rest):
        if not asked:
            asked.append(web.ask(address, path="/", method="GET")[0])
            if interrupted:
                raise KeyboardInterrupt
            server.should_exit = True
        join(thread, *rest)

    monkeypatch.setattr(threading.Thread, "join", joined)

    async def cell():
        server.run_on(listening)

    asyncio.run(cell())
    assert asked == [404] and server.should_exit


def test_an_engine_that_is_given_up_ends_the_server_with_its_reason():
    server = Server(lambda *_: None)
    server.fail(MlxError("gone"))
    assert server.should_exit and str(server.failure) == "gone"
