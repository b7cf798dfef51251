import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse.dashboards.state import DIRECTIONS, GROUPINGS, ProgressState, RunsState

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
tokens = st.builds("{}.{}".format, st.sampled_from(["metrics", "params", "tags", "min"]), texts)


@given(
    st.builds(
        ProgressState,
        st.lists(texts, max_size=3).map(tuple),
        st.none() | texts,
        st.none() | st.sampled_from(DIRECTIONS),
        st.sampled_from(GROUPINGS),
    )
)
def test_a_link_reproduces_the_progress_view(state):
    assert ProgressState.from_search(state.to_search()) == state


@given(
    st.builds(
        RunsState,
        st.lists(texts, max_size=3).map(tuple),
        st.just("") | texts,
        st.lists(st.tuples(tokens, st.sampled_from(["asc", "desc"])), max_size=2).map(tuple),
        st.none() | st.lists(tokens, min_size=1, max_size=4).map(tuple),
    )
)
def test_a_link_reproduces_the_runs_view(state):
    assert RunsState.from_search(state.to_search()) == state


@pytest.mark.parametrize("search", [None, "", "?"])
def test_no_query_is_the_default(search):
    assert ProgressState.from_search(search) == ProgressState()
    assert RunsState.from_search(search) == RunsState()
    assert ProgressState().to_search() == RunsState().to_search() == ""


def test_words_that_mean_nothing_are_the_default():
    state = ProgressState.from_search("?direction=sideways&by=shoe_size&goal=loss")
    assert state == ProgressState(goal="loss")


def test_an_order_without_direction_is_ascending():
    assert RunsState.from_search("?order=metrics.a:b").order == (("metrics.a:b", "asc"),)
    assert RunsState.from_search("?order=metrics.a:b:desc").order == (("metrics.a:b", "desc"),)
