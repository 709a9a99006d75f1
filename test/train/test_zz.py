import json, shutil
from pathlib import Path
from src.core.files import write_jsonl
from src.train import train
from test_dpo import pair
def test_diag(project, curve, kill_9):
    dataset = Path("data/t/build")
    write_jsonl(dataset / "train_preferences.jsonl", map(pair, range(24)))
    write_jsonl(dataset / "validation_preferences.jsonl", map(pair, range(24, 30)))
    pre = lambda *o: project("train.task=dpo", "train.lora.dropout=0", *o)
    train(project("train.max_steps=2"))
    shutil.move("checkpoint", "before")
    more = ("train.start=before/t/train",)
    train(pre(*more)); one = curve(); shutil.rmtree("checkpoint")
    kill_9("train.task=dpo", "train.lora.dropout=0", "train.save_steps=2", *more)
    import subprocess
    out = subprocess.run("find checkpoint | grep -v build | head -80", shell=True, capture_output=True, text=True).stdout
    train(pre(*more)); two = curve()
    diffs = [(a["step"], {k: (a[k], b.get(k)) for k in a if a[k] != b.get(k)}) for a, b in zip(one, two) if a != b]
    Path("/tmp/trainfix/diag.txt").write_text(out + "\n" + "\n".join(map(str, diffs[:6])))
