"""What one writes without mlx: a plain TRL script, for `bench_overhead.py`. Takes a JSON file of settings; prints its losses."""

import json
import sys
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

job = json.loads(Path(sys.argv[1]).read_text())
data = load_dataset("json", data_files={"train": job["train"], "validation": job["validation"]})
data = data.select_columns("messages")
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(job["model"]),
    processing_class=AutoTokenizer.from_pretrained(job["model"]),
    args=SFTConfig(
        output_dir="out",
        assistant_only_loss=True,
        packing=True,
        max_length=job["sequence_length"],
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=job["effective_batch"],
        max_steps=job["steps"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        logging_steps=1,
        save_steps=job["save_steps"],
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=job["eval_steps"],
        eval_on_start=True,
        report_to="tensorboard",
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        dataloader_pin_memory=False,
        seed=job["seed"],
    ),
    train_dataset=data["train"],
    eval_dataset=data["validation"],
    peft_config=LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model("out/adapter")
print(json.dumps([row["loss"] for row in trainer.state.log_history if "loss" in row]))
