"""A text that becomes an answer's content and tool calls while it is still being written."""

from typing import Any

from src.models.tool_calls import parse

OPENERS = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")


class Answer:
    """Gives out what is surely content; where tools are offered, what may be a call waits for its end.

    Given out piece by piece or taken whole at the end, the content is the same. Around calls white space means nothing,
    so where tools are offered the content comes without it at both ends.
    """

    def __init__(self, *, tools: bool) -> None:
        self.tools = tools
        self.text = ""
        self._given = ""

    def feed(self, piece: str) -> str:
        """Take the next piece of text; return the next piece of content."""
        self.text += piece
        if not self.tools:
            return piece
        sure = self._sure()
        new, self._given = sure[len(self._given) :], sure
        return new

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """Return the content not given out yet, and the calls as `{"name", "arguments"}`."""
        if not self.tools:
            return "", []
        parsed = parse(self.text)
        content = (parsed.content or "") if parsed.calls else self.text.strip()
        return content[len(self._given) :], parsed.calls

    def _sure(self) -> str:
        text = self.text.lstrip()
        if text.startswith(("{", "[")):
            return ""
        at = min((place for opener in OPENERS if (place := text.find(opener)) >= 0), default=-1)
        if at < 0:
            at = len(text) - max(length for opener in OPENERS for length in range(len(opener)) if text.endswith(opener[:length]))
        return text[:at].rstrip()
