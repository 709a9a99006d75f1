"""Go on with pre-training on the text of a domain: next tokens with a decoder, hidden ones with an encoder."""

from typing import TYPE_CHECKING

from src.core.errors import MlxError
from src.core.run import Run
from src.models.load import load_tokenizer
from src.models.size import context
from src.train.base import find_base
from src.train.sft import train_rows
from src.train.texts import Frame, blocks, framed_pieces, parted, pieces, read_documents

if TYPE_CHECKING:
    from src.train import TrainConfig


def pretrain(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    base = find_base(config, run)
    tokenizer = load_tokenizer(base.tokenizer)
    length = min(config.sequence_length, context(base.path) or config.sequence_length)
    documents, held = parted(read_documents(run, tokenizer), share=config.pretrain.validation, seed=run.seed)
    if not documents:
        raise MlxError("no document is left to train on", f"look at {run.ledger.path.name}")
    masked = config.pretrain.objective == "masked"
    frame = Frame.of(tokenizer, end=not masked)
    if masked:
        from src.train.masked import masked_language_model

        masked_language_model(config, run, base, *(framed_pieces(each, frame=frame, length=length) for each in (documents, held)))
        return
    cut = pieces if config.pretrain.apart else blocks
    # what is measured is each document on its own, so that its figure means the same whatever it is joined with
    train_rows(config, run, base, cut(documents, frame=frame, length=length), pieces(held, frame=frame, length=length))
