"""A base gets a head that fits it, and padding changes nothing, on decoders with and without images and on encoders."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
)

from src.core.errors import MlxError
from src.models.class_logits import class_logits
from src.models.load_classifier import head_name, load_classifier, save_head_config

LABELS = ("bearish", "neutral", "bullish")
SIZE = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
ROWS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15]]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of a Llama, a Gemma 3 with images, and a BERT that told two classes apart."""
    place = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZE, num_key_value_heads=2, initializer_range=0.3)).save_pretrained(place / "llama")
    text = {**SIZE, "num_key_value_heads": 2, "head_dim": 16}
    images = {**SIZE, "image_size": 28, "patch_size": 14, "num_hidden_layers": 1}
    images.pop("vocab_size")
    gemma = Gemma3Config(text_config=text, vision_config=images, mm_tokens_per_image=4, image_token_index=299)
    Gemma3ForConditionalGeneration(gemma).save_pretrained(place / "gemma")
    BertForSequenceClassification(BertConfig(**SIZE, num_labels=2)).save_pretrained(place / "bert")
    return place


@pytest.mark.parametrize("name", ["llama", "gemma", "bert"])
def test_padding_changes_nothing_and_the_classes_are_named(bases, name):
    """Without the padding token in its config a decoder looks at the last place of the batch, which is padding."""
    model = load_classifier(bases / name, labels=LABELS, pad=0)
    assert model.config.id2label == dict(enumerate(LABELS))
    together = class_logits(model, ROWS, pad=0, bf16=False, batch_size=3)
    alone = np.concatenate([class_logits(model, [row], pad=0, bf16=False, batch_size=1) for row in ROWS])
    assert together.shape == (3, 3)
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_config_of_a_head_makes_the_same_model_again(bases, tmp_path):
    model = load_classifier(bases / "gemma", labels=LABELS, pad=0, quantization="int8")
    save_head_config(model, tmp_path / "head")
    assert "quantization_config" not in (tmp_path / "head" / "config.json").read_text()
    again = load_classifier(bases / "gemma", labels=LABELS, head=tmp_path / "head")
    assert again.config.id2label == model.config.id2label
    assert again.config.get_text_config().pad_token_id == 0


def test_an_adapter_is_put_on_the_part_that_reads_text(bases):
    """The vision tower of a Gemma has q_proj and v_proj too: an adapter there is saved and never learns."""
    from src.train import TrainConfig
    from src.train.base import Base
    from src.train.class_data import Data
    from src.train.class_loss import class_loss
    from src.train.class_rows import Reading
    from src.train.class_trainer import make_class_trainer

    class Tokenizer:
        pad_token_id = 0

    lora = {"r": 2, "targets": ["q_proj", "v_proj"]}
    config = TrainConfig(task="classify", model="x", quantization="none", lora=lora, device="cpu")
    data = Data(Reading(Tokenizer(), LABELS, 8, "drop"), [], [], [1, 1, 1])
    from pathlib import Path

    base = Base((bases / "gemma").as_posix(), "folder", "cpu", "fp32")
    model = make_class_trainer(config, Path("work"), base, data, class_loss([1, 1, 1], 0), seed=1).model
    adapted = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert not [name for name in adapted if "vision" in name]
    assert len([name for name in adapted if "lora_A" in name]) == 4  # two projections in two layers
    assert [name for name in adapted if "score" in name]


def test_weights_that_are_not_there_are_an_error_but_for_the_head(bases, tmp_path):
    import json
    import shutil

    shutil.copytree(bases / "gemma", tmp_path / "text")
    config = json.loads((tmp_path / "text" / "config.json").read_text())["text_config"]
    (tmp_path / "text" / "config.json").write_text(json.dumps({**config, "architectures": ["Gemma3ForCausalLM"]}))
    with pytest.raises(MlxError, match=r"lacks weights of the model: .* and \d+ more"):
        load_classifier(tmp_path / "text", labels=LABELS, pad=0)


def test_a_model_without_a_head_of_a_known_name():
    with pytest.raises(MlxError, match=r"Linear has no head by any known name"):
        head_name(torch.nn.Linear(1, 1))
