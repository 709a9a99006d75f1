"""Cells that go out to people in a spreadsheet and come back: none is run as a formula, each is what it was."""

_ACTIVE = "'=+-@\t\r\n|%＝＋－＠"
"""What a cell may not begin with: spreadsheets take it for a formula (OWASP, CSV injection), or take the mark off that says it is none."""


def harmless(cell: str) -> str:
    """Put a quote before a cell that a spreadsheet would run; `as_it_was` takes it off again."""
    cell = cell.replace("\0", "").encode("utf-8", "replace").decode()
    return f"'{cell}" if cell.lstrip(" ").startswith(tuple(_ACTIVE)) else cell


def as_it_was(cell: str) -> str:
    """Take the quote of `harmless` off."""
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip(" ").startswith(tuple(_ACTIVE)) else cell
