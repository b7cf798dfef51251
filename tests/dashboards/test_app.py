import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dash
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from mlwarehouse.dashboards import ids, pages
from mlwarehouse.dashboards.app import PAGES, create_app
from mlwarehouse.errors import StorageError


def call(app, output, **given):
    """Call the callback that fills `output` as a browser does; keywords are ``id.property`` of its arguments."""
    key = next(k for k in app.callback_map if output in re.split(r"\.\.\.?", k.strip(".")) or output == k)
    spec = app.callback_map[key]

    def argument(entry):
        return {**entry, "value": given.get(f"{entry['id']}.{entry['property']}")}

    names = [n.split("@")[0] for n in re.split(r"\.\.\.?", key.strip("."))] if key.startswith("..") else [key]
    outputs = [dict(zip(("id", "property"), n.rsplit(".", 1), strict=True)) for n in names]
    payload = {
        "output": key,
        "outputs": outputs if key.startswith("..") else outputs[0],
        "inputs": [argument(e) for e in spec["inputs"]],
        "state": [argument(e) for e in spec["state"]],
        "changedPropIds": [given["changed"]] if "changed" in given else [],
    }
    response = app.server.test_client().post("/_dash-update-component", json=payload)
    return response.status_code, response.get_json(silent=True)


def numbers_for(app, search):
    status, answer = call(app, "progress-numbers.children", **{"progress-location.search": search})
    assert status == 200
    return json.dumps(answer["response"])


@pytest.fixture(scope="module")
def app(project):
    return create_app(project)


def test_pages_have_names_and_paths_of_their_own():
    assert len({p.path for p in PAGES}) == len({p.name for p in PAGES}) == len(PAGES) >= 2
    assert PAGES[0].path == "/"


def test_every_page_file_is_in_the_tuple():
    files = {p.stem for p in Path(pages.__file__).parent.glob("[!_]*.py")}
    assert {p.layout.__module__.rsplit(".", 1)[-1] for p in PAGES} == files


def test_importing_and_building_leaves_no_page_in_dashs_registry(app):
    assert not dash.page_registry


def test_ids_are_unique_over_all_pages():
    found = [member.value for page in (ids.Shell, ids.Progress, ids.Runs) for member in page]
    assert len(found) == len(set(found))


def test_every_callback_refers_to_components_that_exist(app, project):
    from mlwarehouse.dashboards.reader import Reader
    from mlwarehouse.dashboards.site import Site

    trees = [app.layout(), *(page.layout(Site(Reader(project)), "") for page in PAGES)]
    there = {getattr(c, "id", None) for tree in trees for c in [tree, *tree._traverse()]}
    named = {e["id"] for spec in app.callback_map.values() for e in (*spec["inputs"], *spec["state"])}
    named |= {n.rsplit(".", 1)[0] for k in app.callback_map for n in re.split(r"\.\.\.?", k.strip("."))}
    assert named <= there


def test_two_visitors_choices_do_not_meet(app, project):
    """Interleaved calls with different choices answer as each alone does."""
    mine, theirs = "?experiment=e1", "?experiment=e2"
    alone = {search: numbers_for(create_app(project), search) for search in (mine, theirs)}
    assert alone[mine] != alone[theirs]
    interleaved = [numbers_for(app, search) for search in (mine, theirs, mine, theirs, theirs, mine)]
    assert interleaved == [alone[s] for s in (mine, theirs, mine, theirs, theirs, mine)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: numbers_for(app, s), [mine, theirs] * 6))
    assert together == [alone[mine], alone[theirs]] * 6


def test_a_second_app_takes_nothing_from_the_first(app, warehouse):
    fresh = create_app(warehouse)
    assert "No runs yet" in numbers_for(fresh, "")
    assert "No runs yet" not in numbers_for(app, "")


def test_a_malformed_filter_is_told_in_place_and_the_grid_keeps_its_question(app):
    asked = {"experiments": [], "filter": "", "columns": ["attributes.run_name"], "versions": None}
    status, answer = call(
        app,
        "runs-question.data",
        **{"runs-location.search": "?filter=metrics.%60val%2Floss%60+%3C", "runs-question.data": asked},
    )
    assert status == 200
    response = answer["response"]
    assert response["runs-filter"]["error"]
    assert "runs-question" not in response
    assert "runs-grid" not in response
    assert response["runs-grid-box"] == {"hidden": False}


def test_a_link_with_a_malformed_filter_shows_no_empty_grid(app):
    _, answer = call(app, "runs-question.data", **{"runs-location.search": "?filter=metrics.%60val%2Floss%60+%3C"})
    assert answer["response"]["runs-grid-box"] == {"hidden": True}
    assert "Mend the filter" in json.dumps(answer["response"]["runs-trouble"])


def test_a_link_with_an_unknown_column_says_so(app):
    _, answer = call(app, "runs-question.data", **{"runs-location.search": "?column=shoes.size"})
    assert "shoes.size" in json.dumps(answer["response"]["runs-trouble"])


def test_rows_are_served_block_by_block(app):
    question = {
        "experiments": ["e1"],
        "filter": "",
        "columns": ["attributes.run_name", "min.val/loss"],
        "versions": None,
    }
    order = [{"colId": "min.val/loss", "sort": "asc"}]
    seen = []
    for start in (0, 20, 40):
        request = {"startRow": start, "endRow": start + 20, "sortModel": order, "filterModel": {}}
        given = {"runs-grid.getRowsRequest": request, "runs-question.data": question}
        _, answer = call(app, "runs-grid.getRowsResponse", **given)
        block = answer["response"]["runs-grid"]["getRowsResponse"]
        assert block["rowCount"] == 48
        seen += block["rowData"]
    assert len({row["run_id"] for row in seen}) == 48
    values = [float(row["min.val/loss"]) for row in seen]
    assert values == sorted(values)


def test_the_file_has_all_rows_in_the_order_shown(app):
    question = {
        "experiments": [],
        "filter": "",
        "columns": ["attributes.run_name", "metrics.val/loss"],
        "versions": None,
    }
    given = {
        "runs-export.n_clicks": 1,
        "runs-question.data": question,
        "runs-location.search": "?order=metrics.val/loss:asc",
        "changed": "runs-export.n_clicks",
    }
    _, answer = call(app, "runs-download.data", **given)
    lines = answer["response"]["runs-download"]["data"]["content"].splitlines()
    assert lines[0] == "run_id,attributes.run_name,metrics.val/loss"
    values = [float(line.split(",")[2]) for line in lines[1:]]
    assert len(values) == 72
    assert values == sorted(values)


def test_a_goal_brings_its_direction_into_the_link(app):
    given = {
        "progress-location.search": "?experiment=e1&by=user_id&direction=max",
        "progress-goal.value": "val/loss",
        "changed": "progress-goal.value",
    }
    _, answer = call(app, "progress-location.search", **given)
    response = answer["response"]
    assert response["progress-location"] == {
        "search": "?experiment=e1&goal=val%2Floss&direction=min&by=user_id",
    }
    assert response["progress-direction"] == {"value": "min"}


def test_the_back_button_sets_the_controls_and_leaves_the_link(app):
    given = {"progress-location.search": "?goal=val%2Floss&direction=max", "changed": "progress-location.search"}
    _, answer = call(app, "progress-location.search", **given)
    response = answer["response"]
    assert "progress-location" not in response
    assert response["progress-goal"]["value"] == "val/loss"
    assert response["progress-direction"] == {"value": "max"}


class Unreadable:
    """A warehouse whose tables can't be read any more, as after the folder was moved away."""

    def __init__(self, inner):
        self.inner = inner

    def versions(self):
        return self.inner.versions()

    def sql(self, text, *, parameters=None):
        raise StorageError("Table `runs` couldn't be read: no such folder.")

    def search_runs(self, **question):
        raise StorageError("Table `runs` couldn't be read: no such folder.")


def test_a_failing_panel_says_why(warehouse):
    app = create_app(Unreadable(warehouse))
    for output in ("progress-numbers", "progress-best", "progress-activity", "progress-leaderboard"):
        status, answer = call(app, f"{output}.children", **{"progress-location.search": "?goal=a&direction=min"})
        assert status == 200
        assert "no such folder" in json.dumps(answer["response"])
    question = {"experiments": [], "filter": "", "columns": ["attributes.run_name"], "versions": None}
    request = {"startRow": 0, "endRow": 100, "sortModel": [], "filterModel": {}}
    given = {"runs-grid.getRowsRequest": request, "runs-question.data": question}
    _, answer = call(app, "runs-grid.getRowsResponse", **given)
    assert "no such folder" in json.dumps(answer["response"]["runs-trouble"])


def test_a_failure_nobody_foresaw_leaves_the_page_and_is_logged(warehouse, caplog):
    broken = create_app(warehouse)
    warehouse.sql = None
    status, answer = call(broken, "progress-numbers.children", **{"progress-location.search": ""})
    assert status == 200
    assert "Something went wrong" in json.dumps(answer["sideUpdate"])
    assert "TypeError" in caplog.text


def test_a_browser_may_run_only_the_apps_own_scripts(app):
    page = app.server.test_client().get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe-eval'" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    text = page.get_data(as_text=True)
    assert re.findall(r'(?:src|href)="(?!/)([^"]*)"', text) == []


def test_it_can_be_mounted_below_a_path(project):
    mounted = create_app(project, prefix="/dashboards/")
    client = Client(DispatcherMiddleware(lambda *_: [], {"/dashboards": mounted.server}))
    page = client.get("/dashboards/")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="(/[^"]*)"', page.get_data(as_text=True))
    assert sources
    assert all(s.startswith("/dashboards/") for s in sources)
    with client.get(next(s for s in sources if ".css" in s)) as style_sheet:
        assert style_sheet.status_code == 200
    given = {"shell-location.pathname": "/dashboards/runs", "shell-location.search": ""}
    _, answer = call(mounted, "shell-content.children", **given)
    text = json.dumps(answer["response"])
    assert '"href": "/dashboards/runs"' in text
    assert "Every run" in text


def test_an_unknown_path_says_so(app):
    _, answer = call(app, "shell-content.children", **{"shell-location.pathname": "/nowhere"})
    assert "There is no page /nowhere" in json.dumps(answer["response"])
