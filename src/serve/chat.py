"""A conversation in the terminal, or line by line through pipes."""

import sys
from collections.abc import Callable
from contextlib import closing

from src.core.errors import MlxError
from src.serve.partner import Messages, Partner

COMMANDS = "/reset forgets what was said, /system TEXT sets another system prompt, /exit leaves (as does Ctrl-D), Ctrl-C stops an answer"
_CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
"""Control characters but tab and newline: a model must not move the cursor, or worse."""


def chat(
    partner: Partner, *, read: Callable[[str], str], write: Callable[[str], None], message: str | None = None, interactive: bool = True
) -> None:
    """Talk until the end of the input; with a `message` say it, write the answer, and leave.

    Args:
        partner: Who answers.
        read: Asks for a line with a prompt; raises EOFError at the end, KeyboardInterrupt on Ctrl-C.
        write: Writes text as it is, without a newline of its own.
        message: The only thing to say.
        interactive: Whether someone looks on. If not, nothing but answers is written, and an error ends it all.
    """
    talk = _Talk(partner, write, interactive=interactive)
    if message is not None:
        talk.say(message)
        return
    if interactive:
        write(f"{partner.name} ({partner.where}). {COMMANDS}.\n")
    while True:
        try:
            line = read("> ")
        except EOFError:
            if interactive:
                write("\n")
            return
        except KeyboardInterrupt:
            if not interactive:
                raise
            write("\n(Ctrl-D or /exit leaves)\n")
            continue
        if line.strip() == "/exit":
            return
        if line.strip():
            talk.hear(line.strip())


class _Talk:
    def __init__(self, partner: Partner, write: Callable[[str], None], *, interactive: bool) -> None:
        self.partner = partner
        self.write = write
        self.interactive = interactive
        self.system: Messages = []
        self.said: Messages = []

    def hear(self, line: str) -> None:
        """Do what a line says: a command, or something to say."""
        command, _, text = line.partition(" ")
        if command in ("/reset", "/system"):
            if command == "/system":
                self.system = [{"role": "system", "content": text.strip()}] if text.strip() else []
            self.said = []
            self._note("a new conversation")
        elif command.startswith("/") and not text and "/" not in command[1:]:
            self._note(COMMANDS)
        else:
            try:
                self.say(line)
            except MlxError as error:
                if not self.interactive:
                    raise
                self._note(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))

    def say(self, text: str) -> None:
        """Say something and write the answer; what is cut by Ctrl-C counts as said, what fails is forgotten."""
        asked = [*self.said, {"role": "user", "content": text}]
        pieces: list[str] = []
        try:
            with closing(self.partner.answer([*self.system, *asked])) as answer:
                for piece in answer:
                    pieces.append(piece)
                    self.write(piece.translate(_CONTROL) if self.interactive else piece)
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.write(" …")
        self.write("\n")
        if pieces:
            self.said = [*asked, {"role": "assistant", "content": "".join(pieces)}]

    def _note(self, text: str) -> None:
        if self.interactive:
            self.write(f"({text})\n")


def read_line(prompt: str) -> str:
    """Read a line from the terminal with a prompt and line editing, or from a pipe without them."""
    if sys.stdin.isatty():
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def write_text(text: str) -> None:
    """Write to the standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
