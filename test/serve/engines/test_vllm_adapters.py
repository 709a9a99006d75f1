"""A real vLLM with adapters: each name its own answers, one more while it serves, and again after a crash."""

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from src.models.load import load_tokenizer
from src.models.template import encode

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]
SAID = {"poet": "Who is there, unknown to the keeper?", "clerk": "Hi.", "guest": "1 2 3"}


@pytest.fixture(scope="module")
def speakers(base, trained_folder, tmp_path_factory):
    """Trainings on one base that answer Hello in their own words; each has learned nothing else."""
    made = {}
    for name, words in SAID.items():
        folder = made[name] = tmp_path_factory.mktemp(name)
        shutil.copytree(trained_folder, folder, dirs_exist_ok=True)
        tokenizer = load_tokenizer(base)
        torch.manual_seed(0)
        lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(LlamaForCausalLM.from_pretrained(base), lora)
        turns = [{"role": "system", "content": "You are the keeper."}, {"role": "user", "content": "Hello"}]
        row = encode(tokenizer, [*turns, {"role": "assistant", "content": words}], [])
        ids, learned = torch.tensor([row.ids]), torch.tensor([row.mask], dtype=torch.bool)
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
        for _ in range(500):
            loss = model(input_ids=ids, labels=ids.masked_fill(~learned, -100)).loss
            if loss.item() < 0.01:
                break
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert loss.item() < 0.05, (name, loss.item())
        model.save_pretrained(folder / "adapter")
    return made


def streaming(lora, address, ended, texts):
    """Ask for one stream after the other until it is over; all that was said."""
    while not ended.is_set():
        body = lora.web.chat("Count", stream=True, max_tokens=100)
        texts.append(lora.web.ask(address, body, authorization=f"Bearer {lora.keys['user']}")[2])


def test_names_answer_for_themselves_and_one_more_comes_and_goes(lora, speakers, monkeypatch):
    for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.setattr("src.llm.launcher.TICK", 0.1)
    monkeypatch.setattr("src.llm.launcher.PULSE", 1.0)
    folders = {name: lora.training(name, folder) for name, folder in speakers.items()}
    engine = {"executable": os.environ["VLLM_EXECUTABLE"], "max_model_len": 256, "load_adapters": True}
    config = lora.config(engine | {"adapters": {name: folders[name] for name in ("poet", "clerk")}}, max_new_tokens=100)
    with lora.running(config, seconds=400) as address:
        assert lora.ask(address) == (200, lora.web.greeted)
        assert {name: lora.ask(address, name)[1] for name in ("poet", "clerk")} == {name: SAID[name] for name in ("poet", "clerk")}
        assert lora.ask(address, "guest") == (404, "model_not_found")
        ended, texts = threading.Event(), []
        askers = [threading.Thread(target=streaming, args=(lora, address, ended, texts)) for _ in range(3)]
        for each in askers:
            each.start()
        lora.web.until(lambda: len(texts) > 3, 60)
        assert lora.load(address, "guest", folders["guest"])[0] == 201
        assert lora.ask(address, "guest") == (200, SAID["guest"])
        assert lora.unload(address, "guest")[0] == 200
        assert lora.ask(address, "guest") == (404, "model_not_found")
        assert lora.load(address, "guest", folders["guest"])[0] == 201
        ended.set()
        for each in askers:
            each.join(60)
        counted = " ".join(map(str, range(60)))
        for text in texts:
            said = "".join(each["choices"][0]["delta"].get("content") or "" for each in lora.web.events(text) if each["choices"])
            assert counted.startswith(said) and len(said) > 50, "no stream was cut, and none of them heard another adapter"
        crash(address, lora)
        assert lora.ask(address, "guest") == (200, SAID["guest"]), "it was told again"
        assert lora.ask(address, "poet") == (200, SAID["poet"])
    audit = [json.loads(line) for path in Path("serve/audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert [each["did"] for each in audit if each["event"] == "adapter"] == ["load", "unload", "load"]


def crash(address, lora):
    """Kill vLLM, and wait until it is back."""
    server = next(each for each in psutil.Process().children() if "--lora-modules" in each.cmdline())
    os.kill(server.pid, signal.SIGKILL)
    lora.web.until(lambda: lora.ask(address)[0] == 503, 60)
    lora.web.until(lambda: lora.ask(address)[0] == 200, 400)
