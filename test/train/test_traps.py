"""What was once found wrong below us, and must not come back unnoticed."""

import pytest

from src.core.errors import MlxError


@pytest.fixture
def trainer(project, tmp_path, made):
    """TRL's trainer on the tiny base in NF4, on the rows of the project."""
    from array import array

    from src.models.libraries import routed
    from src.models.load import load_tokenizer
    from src.models.template import encode

    with routed():
        from src.train.base import Base
        from src.train.rows import IGNORED, Row
        from src.train.trainer import make_trainer

        tokenizer = load_tokenizer("tiny")
        rows = []
        for number in range(40):
            encoded = encode(tokenizer, made(number)["messages"], [])
            labels = [token if learned else IGNORED for token, learned in zip(encoded.ids, encoded.mask, strict=True)]
            rows.append(Row(str(number), array("i", encoded.ids), array("i", labels)))
        config = project("train.lora.dropout=0").section("train")
        return make_trainer(config, tmp_path, Base("tiny", "folder", "cpu", "fp32"), rows, seed=1)


def gradients(trainer):
    trainer.model.zero_grad()
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer.model(**batch, use_cache=False, fused_lm_head=True).loss.backward()
    return [weight.grad.clone() for weight in trainer.model.parameters() if weight.grad is not None]


def test_an_evaluation_leaves_nf4_gradients_as_they_were(trainer):
    """Bitsandbytes repacks the weights in a pass without gradients on CPUs with AVX512-BF16, for a kernel without a backward."""
    import torch

    from src.train.heldout import frozen

    trainer.model.train()
    before = gradients(trainer)
    with frozen(trainer.model):
        trainer.model(input_ids=torch.tensor([[5, 6, 7]]))
    after = gradients(trainer)
    assert before
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert trainer.model.training


def test_the_adapter_of_a_quantised_model_trains_in_fp32(trainer):
    """TRL casts it to bf16, in which updates get lost and from which a resumed run differs."""
    import torch

    assert {weight.dtype for weight in trainer.model.parameters() if weight.requires_grad} == {torch.float32}


def test_packed_rows_do_not_see_each_other(trainer):
    from src.train.packing import check_packing

    assert check_packing(trainer.model, trainer.data_collator, list(trainer.train_dataset), tolerance=1e-3) < 1e-5


def test_packed_rows_that_see_each_other_are_an_error(trainer):
    """An attention mask of ones makes transformers attend across the rows of a packed batch, without a warning."""
    import torch

    from src.train.packing import check_packing

    def spoilt(rows):
        batch = trainer.data_collator(rows)
        return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}

    with pytest.raises(MlxError, match=r"rows packed into one sequence see each other with .*: log-probabilities differ by 0\.[0-9]"):
        check_packing(trainer.model, spoilt, list(trainer.train_dataset), tolerance=0.08)  # even by the loosest tolerance


def test_rows_lost_below_us_are_a_bug_that_is_told(trainer):
    from src.train.rows import Row
    from src.train.trainer import _none_lost

    with pytest.raises(RuntimeError, match="are left in the trainer's dataset"):
        _none_lost(trainer, [Row("a", [1], [1])], packing=True)


def test_a_projection_the_model_has_not(trainer):
    from src.train.adapter import new_adapter
    from src.train.lora import Lora

    model = trainer.model.get_base_model()
    assert new_adapter(Lora(), model).target_modules == "all-linear"
    assert new_adapter(Lora(targets=("q_proj", "down_proj")), model).target_modules == {"q_proj", "down_proj"}
    with pytest.raises(MlxError, match="has no qkv_proj"):
        new_adapter(Lora(targets=("q_proj", "qkv_proj")), model)
    with pytest.raises(MlxError, match="has no lm_hat"):
        new_adapter(Lora(modules_to_save=("lm_hat",)), model)
