import json
import random

import numpy as np
import orjson
import pytest

from src.text.kernels import SLACK
from src.text.scan import ASK, BLANK, DOCUMENT, FOUND, scan


def scanned(data, column=b"text"):
    """What each line is, and its text where it is a document; the bytes of the line as they were."""
    room = data.count(b"\n") + 2
    found = [np.empty(room, np.int64) for _ in range(3)]
    kinds = np.empty(room, np.uint8)
    memory = np.frombuffer(data + bytes(SLACK), np.uint8).copy()
    count = scan(memory, len(data), np.frombuffer(column, np.uint8), np.empty(FOUND, np.int64), *found, kinds)
    begins, starts, stops = (each.tolist() for each in found)
    return [
        (
            int(kinds[row]),
            memory[starts[row] : stops[row]].tobytes() if kinds[row] == DOCUMENT else None,
            data[begins[row] : begins[row + 1]],
        )
        for row in range(count)
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"text":"a"}',
        ' {"id" : -1.50 , "text" : "" }\t\r',
        '{"a":{"text":[1,{"b":[]},{}],"c":null},"b":[true,false,0],"text":"x","d":"\\u0041\\ud83d\\ude00"}',
        r'{"text":"q\" b\\ s\/ \b\f\n\r\t \u00e9 \ud83d\ude00 \u6771"}',
        '{"text":"é 東京 😀","é":"ñ"}',
        '{"text":"1234567\\n","m":[[[[[[[[]]]]]]]]}',
    ],
)
def test_usual_lines_are_read_as_the_library_reads_them(line):
    [(kind, text, _)] = scanned(line.encode())
    assert kind == DOCUMENT
    assert text.decode() == orjson.loads(line)["text"]


@pytest.mark.parametrize(
    "line",
    [
        *('{"text":1}', '{"txt":"a"}', "{}", "[]", '"text"', '{"text":"a","text":"b"}', '{"te\\u0078t":"a"}', '{"n":1e3,"text":"a"}'),
        *('{"n":1234567890123456,"text":"a"}', "[" * 70, '{"m":' + "[" * 61 + "]" * 61 + ',"text":"a"}', "\ufeff" + '{"text":"a"}'),
        *(
            '{"text":"a"',
            '{"text":"a}',
            '{"text":"a"} x',
            '{"text":"a",}',
            '{"n":01,"text":"a"}',
            '{"n":.5,"text":"a"}',
            '{"n":1.,"text":"a"}',
        ),
        *(
            '{"n":1.,"text":"a"}',
            '{"n":-,"text":"a"}',
            '{"n":nul,"text":"a"}',
            '{"text":"\\ud800"}',
            '{"text":"\\u12g4"}',
            '{"text":"\\x"}',
            '{"text":"\t"}',
        ),
        *(
            '{"m":[1,],"text":"a"}',
            '{"m":{"a"},"text":"a"}',
            '{"m":[1 2],"text":"a"}',
            '{"m":{"a":1],"text":"a"}',
            '{"text" "a"}',
            '{"text":"\\',
        ),
    ],
)
def test_unusual_and_broken_lines_are_left_to_the_library(line):
    assert [kind for kind, _, _ in scanned(line.encode())] == [ASK]


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc3", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"]
)
@pytest.mark.parametrize("form", [b'{"text":"%s"}', b'{"text":"a","n":"0123456789%s"}'])
def test_what_is_no_utf_8_is_left_to_the_library(form, data):
    assert scanned(form % data)[0][0] == ASK


def test_lines_are_told_apart():
    lines = [b'{"text":"a"}\n', b"\n", b" \t\r\n", b"bad\n", b'{"text":"b"}']
    found = scanned(b"".join(lines))
    assert [kind for kind, _, _ in found] == [DOCUMENT, BLANK, BLANK, ASK, DOCUMENT]
    assert [line for _, _, line in found] == lines
    assert scanned(b"") == []


def value(rng, depth=0):
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return "".join(rng.choices('ab \\"/\n\té東😀\x7f', k=rng.randrange(12)))
    if kind < 6:
        return [rng.randrange(-(10**6), 10**6), round(rng.uniform(-9, 9), 3), None, rng.random() < 0.5][kind - 2]
    several = range(rng.randrange(4))
    return [value(rng, depth + 1) for _ in several] if kind == 6 else {str(at): value(rng, depth + 1) for at in several}


def test_whatever_happens_to_a_line_what_counts_as_a_document_is_one():
    rng = random.Random(1)
    documents = 0
    for _ in range(8_000):
        row = {str(at): value(rng) for at in range(rng.randrange(3))} | {"text": "".join(rng.choices("ab é東\\\n😀", k=rng.randrange(20)))}
        line = json.dumps(row, ensure_ascii=rng.random() < 0.5, separators=rng.choice([(",", ":"), (", ", " : ")])).encode()
        assert scanned(line)[0][:2] == (DOCUMENT, row["text"].encode())
        damaged = bytearray(line)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(damaged))
            how = rng.randrange(3)
            damaged[at : at + (how != 2)] = b"" if how == 0 else bytes([rng.choice(b'{}[]",:\\u0 19eE.-tnx\xc3\xff\x00')])
        for kind, text, part in scanned(bytes(damaged)):
            if kind == DOCUMENT:
                assert orjson.loads(part)["text"].encode() == text
                documents += 1
    assert documents > 1000
