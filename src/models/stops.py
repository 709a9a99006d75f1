"""Ends a streamed text where one of some texts begins, without ever giving out the start of one."""

from collections.abc import Sequence


class Stops:
    """Holds back what may become a stop, and knows once one is there."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.found = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what can be given out."""
        text = self._held + piece
        at = min((place for each in self.texts if (place := text.find(each)) >= 0), default=-1)
        if at >= 0:
            self.found, self._held = True, ""
            return text[:at]
        kept = max((length for each in self.texts for length in range(1, len(each)) if text.endswith(each[:length])), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """Return what was held back in vain."""
        held, self._held = self._held, ""
        return held
