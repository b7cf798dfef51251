"""The filter language: what each filter becomes, and what is refused."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from mlwarehouse.errors import FilterError
from mlwarehouse.query.conditions import condition
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.references import References, keys_of_series
from tests.query.conftest import CASES

KNOWN_SERIES = frozenset({"odd.min"})


def pairs() -> list[tuple[str, str]]:
    lines = (CASES / "filters.sql").read_text(encoding="utf-8").splitlines()
    statements = [line.removesuffix(";") for line in lines if line and not line.startswith("#")]
    assert len(statements) % 2 == 0
    return list(zip(statements[::2], statements[1::2], strict=True))


def refused() -> list[tuple[str, str]]:
    lines = (CASES / "filters__invalid.txt").read_text(encoding="utf-8").splitlines()
    cases = [line.split(" => ") for line in lines if line and not line.startswith("#")]
    return [(text.strip(), message.strip()) for text, message in cases]


def compiled(text: str) -> tuple[exp.Expr, References]:
    tree = parse_expression(text, what="filter")
    assert tree is not None
    references = References()
    return condition(tree, references, KNOWN_SERIES), references


def literal(value: object) -> exp.Expr:
    return exp.convert(value.isoformat() if isinstance(value, dt.datetime) else value)


@pytest.mark.parametrize(("text", "expected"), pairs())
def test_filter_becomes(text: str, expected: str) -> None:
    tree, references = compiled(text)
    marks = [node.name for node in tree.find_all(exp.Placeholder)]
    assert sorted(marks) == sorted(references.parameters), "each value is a parameter, used once"
    shown = tree.transform(
        lambda node: literal(references.parameters[node.name]) if isinstance(node, exp.Placeholder) else node
    )
    assert shown.sql(dialect="duckdb") == expected
    assert not [n for n in tree.find_all(exp.Literal) if n.name != "runs:/"], "no value stands in the SQL itself"


@pytest.mark.parametrize(("text", "message"), refused())
def test_filter_is_refused(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        compiled(text)
    assert message in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        tree = parse_expression(text, what="filter")
        if tree is not None:
            condition(tree, References(), KNOWN_SERIES)
    except FilterError:
        pass


@given(st.text(min_size=1, max_size=12), st.text(max_size=12))
def test_any_key_and_value_can_be_asked_for(key: str, value: str) -> None:
    quoted_key, quoted_value = key.replace("`", "``"), value.replace("'", "''")
    tree, references = compiled(f"params.`{quoted_key}` = '{quoted_value}'")
    assert tree.sql(dialect="duckdb") == "param_0.value = $p0"
    assert references.parameters == {"p0": value}
    assert list(references.by_name) == [("param", key, None)]


def test_what_a_series_can_be_a_metric_of() -> None:
    assert keys_of_series("loss") == ["loss"]
    assert keys_of_series('a {b {"c": 1}') == ['a {b {"c": 1}', "a", "a {b"]
