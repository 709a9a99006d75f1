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


@pytest.fixture
def spoilt(project, tmp_path, made, trainer):
    """A function that makes the trainer of sound rows and others."""
    from array import array

    from src.models.libraries import routed
    from src.train.base import Base
    from src.train.rows import Row
    from src.train.trainer import make_trainer

    def make(*others, packing=True):
        rows = [Row(f"sound{n}", array("i", [7, 8, 9]), array("i", [-100, 8, 9])) for n in range(4)]
        rows += [Row(name, array("i", ids), array("i", labels)) for name, ids, labels in others]
        config = project(f"train.packing={packing}", "train.sequence_length=16").section("train")
        with routed():
            return make_trainer(config, tmp_path, Base("tiny", "folder", "cpu", "fp32"), rows, seed=1)

    return make


@pytest.mark.parametrize(
    ("row", "packing", "said"),
    [
        (("masked", [5, 6, 7], [-100] * 3), True, "1 rows have no token to learn: masked"),
        (("masked", [5, 6, 7], [-100] * 3), False, "1 rows have no token to learn: masked"),
        (("long", [5] * 20, [-100] * 18 + [5, 5]), True, "of 5 rows, 4 are left.*: long"),  # TRL cuts what is learned, and drops it
        (("cut", [5] * 20, [5] * 20), True, "of 5 rows, 4 are left.*: cut"),
    ],
)
def test_a_row_that_trl_drops_or_cuts_is_told(spoilt, row, packing, said):
    with pytest.raises(RuntimeError, match=said):
        spoilt(row, packing=packing)


def test_rows_of_the_same_tokens_are_told_apart_by_their_number(spoilt):
    assert len(spoilt(("fifth", [7, 8, 9], [-100, 8, 9]), packing=False).train_dataset) == 5


def test_an_end_that_is_masked_as_padding_is_told(trainer):
    """A collator that finds padding by its id hides the token that ends a turn, where a model's padding token is that."""
    from array import array

    import torch

    from src.train.accounted import accounted
    from src.train.rows import IGNORED, Row

    rows = [Row("a", array("i", [5, 6, 3]), array("i", [IGNORED, 6, 3])), Row("b", array("i", [5, 3]), array("i", [IGNORED, 3]))]
    dataset = [{"input_ids": list(row.ids), "labels": list(row.labels)} for row in rows]

    def collate(some, pad=None):
        labels = torch.tensor([each["labels"] + [IGNORED] * (3 - len(each["labels"])) for each in some])
        return {"labels": torch.where(labels == pad, IGNORED, labels) if pad else labels}

    accounted(dataset, collate, rows, packing=False)
    with pytest.raises(RuntimeError, match="of 3 tokens to learn, 1 are left in a batch"):
        accounted(dataset, lambda some: collate(some, pad=3), rows, packing=False)


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
