"""The rendered text of each view is the one that was looked at."""

from __future__ import annotations

import pytest

from tests.views.golden import rendered, stored


def test_nothing_is_missing_or_left_over() -> None:
    assert stored().keys() == rendered().keys(), "run `make golden` and look at the difference"


@pytest.mark.parametrize("path", sorted(rendered()))
def test_text_is_as_it_was(path: str) -> None:
    assert rendered()[path] == stored().get(path), "run `make golden` and look at the difference"
