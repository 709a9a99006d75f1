"""Adapters by name over one vLLM process, and adapters that come and go while it serves. vLLM is a stand-in here."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from src.core.errors import MlxError
from src.serve.control import steering
from src.serve.engines import watched


def adapter(folder):
    return (folder / "adapter").absolute().as_posix()


def test_adapters_of_the_settings_answer_by_their_names(lora):
    poet = lora.training("poet", system="You are a poet.")
    with lora.running(lora.config({"adapters": {"poet": poet}})) as address:
        assert lora.ask(address) == (200, f"keeper of {lora.own.as_posix()}/adapter")
        assert lora.ask(address, "poet") == (200, f"poet of {poet.as_posix()}/adapter")
        body = lora.web.ask(address, lora.web.chat(model="poet"), authorization=f"Bearer {lora.keys['user']}")[2]
        assert body["choices"][0]["message"]["asked"][0] == {"role": "system", "content": "You are a poet."}
        assert lora.ask(address, "poet", role="few") == (403, "model_not_allowed")
        shown = [each["id"] for each in lora.admin(address, method="GET", path="/v1/models")[1]["data"]]
        assert shown == ["keeper", "poet"]
        assert lora.admin(address, method="GET", path="/v1/lineage")[1]["models"]["poet"][0]["stage"] == "train"
        assert lora.admin(address, method="GET")[1][0] == {
            "name": "poet",
            "of": "keeper",
            "folder": "checkpoint/poet/train",
            "state": "ready",
            "inflight": 0,
        }
        counts = lora.admin(address, method="GET", path="/metrics")[1]
        assert 'mlx_model_tries_total{model="poet",result="answered"} 2.0' in counts
    (life,) = lora.notes()
    argv = life["argv"]
    at = argv.index("--lora-modules")
    assert argv[at + 1 : at + 3] == [f"keeper={lora.own.as_posix()}/adapter", f"poet={poet.as_posix()}/adapter"]
    assert argv[argv.index("--max-loras") + 1] == "2" and argv[argv.index("--max-lora-rank") + 1] == "8"
    assert life["dynamic"] is False, "nobody may load adapters unless that is asked for"


def test_an_adapter_that_does_not_fit_is_refused_before_vllm_starts(lora, base):
    other = Path("other_base")
    other.mkdir()
    for file in base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    strange = lora.training("strange", base=other.resolve().as_posix(), base_fingerprint=None)
    lora.training("spoken", template="another")
    lora.training("large", config={"r": 64})
    lora.training("dora", config={"use_dora": True})
    lora.training("whole", weights="model")
    (Path("checkpoint/whole/train") / "model").mkdir()
    for name, words, more in (
        ("strange", "adapter 'x': .*strange.* was trained on .*other_base, and this process serves", {}),
        ("spoken", "another chat template or tokenizer", {}),
        ("whole", "is a whole model", {}),
        ("large", "rank 64, and vLLM is started with room for 32", {"max_lora_rank": 32}),
        ("dora", "DoRA", {}),
        ("nowhere", "not a finished output", {}),
    ):
        with pytest.raises(MlxError, match=words):
            lora.gateway(lora.config({"adapters": {"x": f"checkpoint/{name}/train"}, **more}))
    assert not lora.notes()
    (other / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    assert lora.gateway(lora.config({"adapters": {"x": strange}})).models["x"].within == "keeper", "a copy of the base is the base"


@pytest.mark.parametrize(
    ("engine", "more", "words"),
    [
        ({"adapters": {"keeper": "checkpoint/poet/train"}}, {}, "two models are called 'keeper'"),
        ({"adapters": {"b": "x"}}, {"models": {"b": {"type": "openai", "url": "http://h/v1", "model": "m"}}}, "two models are called 'b'"),
        ({"load_adapters": True}, {"access": None}, "there is no /admin without a door"),
        ({"when_unloaded": "sleep"}, {}, "nothing is unloaded without serve.residency"),
        ({"adapters": {"bad name": "x"}}, {}, "adapters"),
        ({"max_lora_rank": 7}, {}, "max_lora_rank"),
    ],
)
def test_settings_that_cannot_be_meant(lora, engine, more, words):
    with pytest.raises(ValidationError, match=words):
        lora.config(engine, **more)


def test_routes_may_lead_to_adapters(lora):
    poet = lora.training("poet")
    routes = {"name": "router", "rules": [{"to": "poet", "keyword": ["verse"]}], "default": "keeper", "fallback": {"poet": ["keeper"]}}
    config = lora.config({"adapters": {"poet": poet}, "load_adapters": True}, routes=routes)
    with lora.running(config) as address:
        assert lora.ask(address, "router", "A verse, please")[1].startswith("poet of")
        assert lora.ask(address, "router", "Hello")[1].startswith("keeper of")
        status, body = lora.unload(address, "poet")
        assert status == 409 and body["error"]["code"] == "routed"


def test_an_adapter_comes_and_goes_while_answers_are_under_way(lora):
    poet = lora.training("poet", system="You are a poet.")
    with lora.running(lora.config({"load_adapters": True})) as address:
        assert lora.ask(address, "poet") == (404, "model_not_found")
        with lora.stream(address, "keeper") as rest:
            status, shown = lora.load(address, "poet", poet)
            assert (status, shown) == (201, {"name": "poet", "of": "keeper", "folder": str(poet), "state": "ready", "inflight": 0})
            assert lora.ask(address, "poet") == (200, f"poet of {adapter(poet)}/.")
            assert lora.ask(address, "poet", role="few") == (403, "model_not_allowed")
            assert lora.admin(address, method="GET", path="/v1/lineage")[1]["models"]["poet"][0]["stage"] == "train"
            assert lora.load(address, "poet", poet)[1]["error"]["code"] == "model_exists"
            with lora.stream(address, "poet") as verse:
                assert lora.unload(address, "poet")[0] == 200
                assert lora.ask(address, "poet") == (404, "model_not_found")
                assert lora.admin(address, method="GET")[1] == []
                said = verse()
            assert said.endswith("data: [DONE]\n\n") and '"finish_reason":"stop"' in said, "an answer under way ends"
            whole = rest()
        assert whole.endswith("data: [DONE]\n\n") and whole.count("keeper") >= 1
        assert lora.unload(address, "poet")[0] == 404 and lora.unload(address, "keeper")[0] == 404
        assert lora.load(address, "poet", poet)[0] == 201
        assert lora.ask(address, "poet") == (200, f"poet of {adapter(poet)}/././"[:-1]), (
            "the prefix cache of the old weights is not met again"
        )
        counts = lora.admin(address, method="GET", path="/metrics")[1]
        assert 'mlx_model_tries_total{model="poet",result="answered"} 3.0' in counts, "what it counted before still counts"
        lora.unload(address, "poet")
        assert 'mlx_model_up{model="poet"} 0.0' in lora.admin(address, method="GET", path="/metrics")[1]
    assert [each["lora_name"] for each in lora.notes(post="/v1/unload_lora_adapter")] == ["poet"] * 2
    audit = [json.loads(line) for path in Path("serve/audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    done = [(each["did"], each["adapter"], each.get("folder"), each["role"]) for each in audit if each["event"] == "adapter"]
    assert done[0] == ("load", "poet", "checkpoint/poet/train", "admin") and ("unload", "poet", None, "admin") in done


def test_after_a_crash_vllm_is_told_again(lora):
    poet = lora.training("poet")
    with lora.running(lora.config({"load_adapters": True, "restarts": 3, "retries": 0})) as address:
        lora.load(address, "poet", poet)
        (first,) = lora.notes(dynamic=True)
        os.kill(first["pid"], signal.SIGKILL)
        lora.web.until(lambda: len(lora.notes(dynamic=True)) == 2)
        lora.web.until(lambda: lora.ask(address, "poet") == (200, f"poet of {adapter(poet)}/."))
        assert lora.notes(post="/v1/load_lora_adapter")[-1]["load_inplace"] is False
        assert lora.ask(address)[0] == 200


def test_one_that_vllm_does_not_take_again_is_told_and_leaves_the_others(lora):
    poet = lora.training("poet")
    with lora.running(lora.config({"load_adapters": True, "retries": 0})) as address:
        lora.load(address, "poet", poet)
        (first,) = lora.notes(dynamic=True)
        Path("refuses_adapters").touch()
        os.kill(first["pid"], signal.SIGKILL)
        lora.web.until(lambda: len(lora.notes(dynamic=True)) == 2)
        lora.web.until(lambda: lora.ask(address)[0] == 200)
        assert lora.ask(address, "poet") == (503, "model_not_loaded")
        status, body = lora.unload(address, "poet")
        assert status == 502 and "no room for adapters" in body["error"]["message"]
        assert lora.ask(address, "poet") == (404, "model_not_found"), "vLLM may keep it, nobody can ask for it"
        Path("refuses_adapters").unlink()
        assert lora.load(address, "poet", poet)[0] == 201 and lora.ask(address, "poet")[0] == 200


def test_a_request_that_meets_an_unload_halfway_is_told_that_there_is_no_such_model(lora):
    poet, config = lora.training("poet"), lora.config({"load_adapters": True, "retries": 0})
    with lora.kept(config) as beside, lora.running(config, beside) as address:
        lora.load(address, "poet", poet)
        assert lora.ask(address, "poet")[0] == 200
        behind = lora.web.ask(beside["keeper"], {"lora_name": "poet"}, path="/v1/unload_lora_adapter")
        assert behind[0] == 200 and lora.ask(address, "poet") == (502, "upstream_error"), "nobody of ours did that"
        lora.server.models["poet"].engine.gone = True
        assert lora.ask(address, "poet") == (404, "model_not_found")


BAD = [
    "/etc",
    "../checkpoint/poet/train",
    "checkpoint/../outside",
    "checkpoint/poet/../../outside",
    "outside",
    "checkpoint/link",
    "checkpoint/inner/train",
    "checkpoint\\poet\\train",
    "checkpoint/\x00",
    "file:///etc",
    "checkpoint",
    "~/x",
    "./../x",
]


def test_only_trainings_below_checkpoint_are_loaded(lora):
    poet = lora.training("poet")
    poet.parent.rename("outside")
    Path("checkpoint/link").symlink_to(Path("outside/train").resolve())
    lora.training("inner")
    weights = Path("checkpoint/inner/train/adapter/adapter_model.safetensors")
    weights.unlink()
    weights.symlink_to(Path("outside/train/adapter/adapter_model.safetensors").resolve())
    with lora.running(lora.config({"load_adapters": True})) as address:
        for folder in BAD:
            status, body = lora.load(address, "poet", folder)
            refused = (409, "adapter_refused") if folder == "checkpoint" else (400, "bad_folder")
            assert (status, body["error"]["code"]) == refused, folder
        for name in ("a b", "", "x" * 200, 7, "a;b"):
            assert lora.load(address, name, "checkpoint/poet/train")[0] == 422, name
    assert not lora.notes(post="/v1/load_lora_adapter")


def test_what_cannot_be_loaded_leaves_everything_as_it_was(lora):
    lora.training("spoken", template="another")
    lora.training("large", config={"r": 64})
    poet, broken = lora.training("poet"), lora.training("broken")
    config = lora.config(
        {"load_adapters": True, "adapters": {"bard": poet}}, models={"far": {"type": "openai", "url": "http://h/v1", "model": "m"}}
    )
    with lora.running(config) as address:
        for folder, status, code in (
            ("spoken", 409, "adapter_refused"),
            ("large", 409, "adapter_refused"),
            ("none", 409, "adapter_refused"),
            ("broken", 502, "upstream_error"),
        ):
            got, body = lora.load(address, "new", f"checkpoint/{folder}/train")
            assert (got, body["error"]["code"]) == (status, code), folder
            assert lora.ask(address, "new") == (404, "model_not_found")
        assert "tensors of another shape" in body["error"]["message"]
        assert lora.load(address, "new", poet, of="far")[0] == 404 and lora.load(address, "new", poet, of="none")[0] == 404
        assert lora.load(address, "far", poet)[1]["error"]["code"] == "model_exists"
        assert lora.unload(address, "far")[0] == 404
        assert lora.unload(address, "bard")[0] == 200
        assert lora.load(address, "bard", broken)[1]["error"]["message"].startswith("the settings mean another folder")
        assert lora.load(address, "bard", poet)[0] == 201 and lora.ask(address, "bard")[0] == 200
        assert lora.admin(address, {"name": "x", "folder": "checkpoint/poet/train"}, role="user")[0] == 403
        assert lora.admin(address, {"name": "x", "folder": "checkpoint/poet/train", "more": 1})[0] == 422


def test_without_the_setting_nothing_is_loaded_or_unloaded(lora):
    poet = lora.training("poet")
    with lora.running(lora.config({"adapters": {"bard": poet}})) as address:
        assert lora.load(address, "poet", poet)[1]["error"]["code"] == "not_enabled"
        assert lora.unload(address, "bard")[1]["error"]["code"] == "not_enabled"
        assert lora.ask(address, "bard")[0] == 200


def test_other_workers_follow_and_share_the_process(lora, monkeypatch):
    monkeypatch.setattr(watched, "PULSE", 0.05)
    poet, config = lora.training("poet"), lora.config({"load_adapters": True}, workers=2)
    with lora.kept(config) as beside, lora.running(config, beside) as one:
        lora.load(one, "poet", poet)
        with lora.running(config, beside) as two:
            assert lora.ask(two, "poet") == (200, f"poet of {adapter(poet)}/."), "a worker that starts later follows too"
            lora.unload(two, "poet")
            lora.web.until(lambda: lora.ask(one, "poet") == (404, "model_not_found"))
            began = time.monotonic()
            lora.load(two, "poet", poet)
            assert time.monotonic() - began > steering.TICK, "who is told that it is loaded may ask any worker"
            lora.web.until(lambda: lora.ask(one, "poet")[0] == 200)


def test_a_whole_model_takes_adapters_on_itself(lora, base):
    whole = lora.training("whole", weights=".", task="sft")
    for file in base.iterdir():
        (whole / file.name).write_bytes(file.read_bytes())
    poet = lora.training("poet")
    models = {"whole": {"type": "vllm", "executable": lora.program, "model": whole, "adapters": {"poet": poet}}}
    with lora.running(lora.config(models=models)) as address:
        assert lora.ask(address, "poet") == (200, f"poet of {poet.as_posix()}/adapter")
        assert lora.ask(address, "whole") == (200, "whole of base")
        body = lora.web.ask(address, lora.web.chat(model="whole"), authorization=f"Bearer {lora.keys['user']}")[2]
        asked = body["choices"][0]["message"]["asked"]
        assert asked[0] == {"role": "system", "content": lora.web.system}, "a further model has its training's system prompt too"


def test_residency_loads_the_process_for_its_adapters(lora):
    poet, guest = lora.training("poet"), lora.training("guest")
    part = {"type": "vllm", "executable": lora.program, "model": lora.own, "ram_gb": 1, "load_adapters": True}
    models = {"one": part | {"adapters": {"poet": poet}}, "two": part}
    config = lora.config(models=models, residency={"ram_gb": 1.5, "linger": 0, "batch": 0})
    config = config.model_copy(update={"engine": None})
    with lora.running(config) as address:
        assert lora.load(address, "guest", guest, of="one")[0] == 201, "it is told once it runs"
        assert not lora.notes(dynamic=True)
        for name in ("poet", "two", "guest", "two", "poet"):
            assert lora.ask(address, name)[0] == 200
        assert [each["model"] for each in lora.web.ask(address, path="/health", method="GET")[2]["residency"]] == ["one", "two"]
        assert lora.load(address, "more", guest)[0] == 404, "there are two processes: which one?"
        assert lora.load(address, "more", guest, of="one")[0] == 201 and lora.ask(address, "more")[0] == 200
    assert len(lora.notes(dynamic=True)) == 5, "the two took turns"
