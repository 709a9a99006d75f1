"""The trained model in this process: from a sound chat request to pieces of text with exact token counts."""

from collections.abc import Generator as Steps
from typing import Any, Self

from src.models.generate import Completion, Generator
from src.models.template import UnfitError, prompt_ids
from src.models.trained import Trained
from src.serve.fields import Fields
from src.serve.request import Call, RequestError
from src.serve.same_tokens import same_tokens

HARMLESS = frozenset(
    (*Fields.model_fields, "user", "metadata", "store", "service_tier", "parallel_tool_calls", "prompt_cache_key", "safety_identifier")
)
"""Fields that are read, or that change no answer."""
NEUTRAL: tuple[Any, ...] = (None, False, 0, "", "auto", "none", [], {}, {"type": "text"})
"""Values that ask for nothing."""
CHOICES = ("none", "auto", None)


class Local:
    """A model and its tokenizer, answering chat requests one at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, limit: int) -> None:
        """`limit` is how many new tokens an answer may have, whatever a request asks for."""
        self.tokenizer = tokenizer
        self.generator = Generator(model, tokenizer)
        self.limit = limit

    @classmethod
    def of(cls, trained: Trained, *, limit: int, device: str = "auto") -> Self:
        """Load a trained model, as long as its tokens are those that it was trained with."""
        loaded = trained.load(device=device)
        same_tokens(loaded.tokenizer, trained.template)
        return cls(loaded.model, loaded.tokenizer, limit=limit)

    def prompt(self, request: Call) -> list[int]:
        """Encode the conversation.

        Raises:
            RequestError: Where the model cannot do what is asked, or there is no room for an answer.
        """
        refuse_unsupported(request)
        try:
            ids = prompt_ids(self.tokenizer, request.conversation(), request.tools() or None)
        except UnfitError as error:
            raise RequestError(400, f"the model's chat template refuses these messages: {error.fault.detail}", param="messages") from None
        if len(ids) >= self.generator.context:
            raise RequestError(
                400,
                f"the messages have {len(ids)} tokens, and the model's context holds {self.generator.context} with the answer",
                code="context_length_exceeded",
                param="messages",
            )
        return ids

    def stream(self, prompt: list[int], fields: Any) -> Steps[str, None, Completion]:
        """Continue `prompt` as the Fields ask; the generator's return value is the Completion."""
        asked = fields.max_completion_tokens or fields.max_tokens or self.limit
        return self.generator.stream(
            prompt,
            max_new_tokens=min(asked, self.limit),
            temperature=1.0 if fields.temperature is None else fields.temperature,
            top_p=1.0 if fields.top_p is None else fields.top_p,
            seed=fields.seed,
            stop=fields.stop or (),
        )


def refuse_unsupported(request: Call) -> None:
    """Refuse what would be silently left out: fields that this engine does not know and that ask for something."""
    for key, value in request.body.items():
        if key not in HARMLESS and value not in NEUTRAL:
            raise RequestError(400, f"{key}: the transformers engine does not support it", code="unsupported_parameter", param=key)
    if any(isinstance(each["content"], list) and any(part["type"] != "text" for part in each["content"]) for each in _said(request)):
        raise RequestError(400, "messages: this model reads text alone", param="messages")
    if request.body.get("tool_choice") not in CHOICES:
        raise RequestError(400, "tool_choice: the transformers engine knows 'auto' and 'none'", param="tool_choice")


def _said(request: Call) -> list[dict[str, Any]]:
    return [each for each in request.body["messages"] if "content" in each]
