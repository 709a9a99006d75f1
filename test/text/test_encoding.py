import codecs

import pytest

from src.text.encoding import decode, is_binary, mended

TEXT = "Café “naïve” – 5 €\r\nzweite Zeile: Grüße"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "utf-32"),
        (TEXT.encode("cp1252"), "cp1252"),
    ],
)
def test_every_encoding_gives_the_text_back(data: bytes, encoding: str) -> None:
    assert decode(data) == (TEXT, encoding)


def test_bytes_that_windows_1252_lacks_are_latin_1() -> None:
    assert decode(b"caf\xe9 \x81") == ("café \x81", "latin-1")


def test_a_mark_that_lies_is_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode(codecs.BOM_UTF8 + b"caf\xe9")


def test_binary_is_told_from_text() -> None:
    assert is_binary(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert is_binary(bytes(range(1, 9)) * 10)
    assert not is_binary(TEXT.encode("cp1252"))
    assert not is_binary(codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"))
    assert not is_binary(b"")
    assert not is_binary(b"an old file\r\nwith its end mark\x1a")


def test_lone_surrogates_are_mended_and_pairs_joined() -> None:
    assert mended("a\ud800b") == "a�b"
    assert mended("\ud83d\ude00") == "😀"
    assert mended("plain 😀") == "plain 😀"
