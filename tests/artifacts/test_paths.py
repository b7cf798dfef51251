"""No path that `clean_path` lets through can mean anything outside its folder."""

from __future__ import annotations

import os
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError

HOSTILE = (
    # Nothing, absolute, and steps out of the folder.
    *(
        "",
        "/",
        "/etc/passwd",
        "//etc/passwd",
        "///",
        "/.",
        "/..",
        "//server/share/x",
        "/dev/stdin",
        "/proc/self/environ",
    ),
    *("..", "../x", "../../etc/passwd", "a/..", "a/../b", "a/../../b", "a/b/../../../c", "a/../..", "../" * 20 + "x"),
    *(".", "./a", "a/./b", "a/.", "./..", "././x", "a//b", "a/", "a//", "a/b//../../../c"),
    # Windows: separators, drives, shares, devices, streams.
    *("a\\b", "..\\x", "..\\..\\x", "\\x", "\\\\server\\share\\x", "\\\\?\\C:\\x", "\\\\.\\pipe\\x", "a/..\\..\\b"),
    *("C:/x", "C:x", "C:", "c:\\x", "C:\\..\\x", "a/C:/x", "a:stream", "a::$DATA", "a:$i30:$INDEX_ALLOCATION"),
    # Addresses.
    *("file:///etc/passwd", "file:/etc/passwd", "http://x/y", "s3://bucket/x", "runs:/x/y", "jar:file:/x!/y"),
    # Encoded once, twice, overlong, and half.
    *("%2e%2e/x", "%2e%2e%2fx", "..%2fx", "..%5cx", "a%00", "a%0ab", "%2Fetc%2Fpasswd", "%", "a%", "100%"),
    *("%252e%252e/x", "..%252fx", "%25252e%25252e/x", "%c0%ae%c0%ae/x", "%uff0e%uff0e/x", "..%c0%afx", "..%ef%bc%8fx"),
    *("..;/x", "a;b", "a;/../b", "a?b", "a/..?x=1", "a#b", "#", "?"),
    # Control, invisible and undecodable characters.
    *("a\x00b", "a\x00", "\x00", "../x\x00.png", "a\nb", "a\rb", "a\tb", "a\x1bb", "a\x7fb", "a\x85b"),
    *("a\u202eb", "a\u200bb", "..\u200b/x", ".\u200d./x", "a\u2066b", "a\ufeffb", "a\u00adb", "a\u2028b", "a\u2029b"),
    *("a\udc80b", "\ud800", "\udfff/x", "a\U000e0001b"),
    # Other characters that become dots, slashes and colons.
    *("\uff0e\uff0e/x", "\uff0e/x", "\u2024\u2024/x", "\u2025/x", "\u2026/x", "\ufe52\ufe52/x", ".\uff0e/x"),
    *("a\uff0fb", "..\uff0fx", "a\uff3cb", "a\ufe68b", "C\uff1ax", "C\ufe55x", "a\uff05b", "\uff05\uff12e", "a\u2100b"),
    # Two spellings of one name.
    *("\ufb01le", "e\u0301", "\u212b", "\u2126", "\uff41", "\u1e9b\u0323", "a\u00a0b", "a\u3000b"),
    # Trailing dots and spaces, which Windows drops, and names that it takes for devices.
    *("a.", "a ", "a. ", "a./b", "a /b", " ..", ".. /x", "... ", "a/. ", "..  ", "a...", "x/ "),
    *(
        "CON",
        "con",
        "NUL",
        "nul.txt",
        "PRN",
        "AUX",
        "aux.tar.gz",
        "COM1",
        "com9.txt",
        "LPT1",
        "a/NUL",
        "NUL/b",
        "CONIN$",
    ),
    # Too long.
    *("x" * 256, "\u00e9" * 128, "a/" + "x" * 300, "/".join(["x" * 200] * 11), "a/" * 1100 + "b"),
)


def test_the_corpus_is_large():
    assert len(set(HOSTILE)) == len(HOSTILE) >= 150


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_hostile_path_is_refused_in_one_printable_sentence(path):
    with pytest.raises(InvalidInputError) as raised:
        clean_path(path)
    message = str(raised.value)
    assert message.endswith(".")
    assert message.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b.txt",
        "model/data/weights.bin",
        "..a",
        "a..b",
        ".hidden",
        "caf\u00e9 au lait.txt",
        "模型/权重",
        "x" * 255,
        ".gitignore",
        "~/x",
        "a b.txt",
        "console.log",
        "null",
        "command/con1",
        "a.b.c/..d",
        "$HOME",
        "(1) [2] {3} & 'x' \"y\" !.txt",
    ],
)
def test_an_ordinary_path_stays_as_it_is(path):
    assert clean_path(path) == path


segments = st.one_of(
    st.sampled_from(["..", ".", "", "a", "b.txt", "...", "%2e", "~", "\uff0e\uff0e", "..\u200b", " .."]),
    st.text(min_size=0, max_size=6),
)


@given(st.lists(segments, min_size=1, max_size=6).map("/".join))
@example("a/b")
def test_what_is_let_through_never_resolves_outside(path):
    try:
        cleaned = clean_path(path)
    except InvalidInputError:
        return
    root = "/warehouse/run"
    for meaning in (cleaned, unquote(cleaned), unicodedata.normalize("NFKC", cleaned), cleaned.replace("\\", "/")):
        resolved = os.path.normpath(f"{root}/{meaning}")
        assert resolved.startswith(root + "/")
        assert resolved == f"{root}/{cleaned}"
