"""The turns that a conversation as a whole cannot teach, each in the conversation that ends with it, as it will be served."""

from src.models.conversation import Fault
from src.models.encoded import Encoded, UnfitError
from src.models.encoder import Encoder, Messages, Tools


def lessons(encoder: Encoder, messages: Messages, tools: Tools, encoded: Encoded) -> list[tuple[int, Encoded | Fault]]:
    """For the turns that `encoded` leaves unlearned: the place of a message, and the conversation up to it.

    Every turn is learned once: one that reads as served in a longer conversation is not learned again in a shorter one.
    """
    left = set(encoded.unlearned)
    found: list[tuple[int, Encoded | Fault]] = []
    for number in reversed(encoded.unlearned):
        if number in left:
            found.append((number, _lesson(encoder, messages[: number + 1], tools, left)))
            left.discard(number)
    return found[::-1]


def _lesson(encoder: Encoder, messages: Messages, tools: Tools, left: set[int]) -> Encoded | Fault:
    try:
        draft = encoder.draft(messages, tools)
        encoded, turns = encoder.finish(draft, encoder.ids(draft.text))
    except UnfitError as error:
        return error.fault
    mask = list(encoded.mask)
    for turn in turns:
        if turn.as_served and turn.number not in left:
            mask[turn.start : turn.end] = [0] * (turn.end - turn.start)
    left.difference_update(turn.number for turn in turns if turn.as_served)
    return Encoded(encoded.ids, mask)
