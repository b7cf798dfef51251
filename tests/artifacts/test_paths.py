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
    "",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "..",
    "../x",
    "a/..",
    "a/../b",
    "a/../../b",
    ".",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "C:/x",
    "C:x",
    "file:///etc/passwd",
    "a:stream",
    "%2e%2e/x",
    "%252e%252e/x",
    "a%00",
    "..;/x",
    "a;b",
    "a?b",
    "a#b",
    "a\x00b",
    "a\nb",
    "a\x7fb",
    "a\u202eb",
    "a\u200bb",
    "a\u2028b",
    "\uff0e\uff0e/x",
    "\u2025/x",
    "a\uff0fb",
    "\ufb01le",
    "e\u0301",
    "a\udc80b",
    "x" * 256,
    "\u00e9" * 128,
    "/".join(["x" * 200] * 11),
)


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
