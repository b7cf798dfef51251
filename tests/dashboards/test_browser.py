"""What only a browser can show: the pages really load, the URL really restores them, and names never become scripts."""

import re
from urllib.parse import urlencode

import pytest

from .conftest import FIRST_DAY

pytestmark = pytest.mark.browser

PAYLOADS = (
    "<script>window.owned=1</script>",
    "<img src=x onerror='window.owned=2'>",
    "<svg onload=window.owned=3>",
    "\"><iframe srcdoc='<script>parent.owned=4</script>'>",
    "<a href='javascript:window.owned=5'>click</a>",
    "{{constructor.constructor('window.owned=6')()}}",
    "${window.owned=7}",
    "'];window.owned=8;//",
    "[x](javascript:window.owned=9)",
    "%{y}<b onmouseover=window.owned=10>bold</b>",
    "params.value == (window.owned=11)",
    '=HYPERLINK("javascript:window.owned=12")',
)


@pytest.fixture
def open_page(chromium):
    """Opens each address in a context of its own; at the end no console has an error and nothing came from outside."""
    opened, trouble = [], []

    def open_(url, **options):
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda m: trouble.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: trouble.append(str(e)))
        page.on("response", lambda r: trouble.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        host = re.match(r"https?://[^/]+", url)[0]
        page.on(
            "request",
            lambda r: trouble.append(r.url) if not r.url.startswith((host, "data:", "blob:")) else None,
        )
        page.goto(url)
        opened.append(context)
        return page

    yield open_
    for context in opened:
        context.close()
    assert trouble == []


def first_cells(page, column, n=5):
    page.wait_for_selector(f'.ag-row[row-index="0"] [col-id="{column}"] .ag-cell-value')
    return page.evaluate(
        """([column, n]) => [...Array(n).keys()].map(i =>
            document.querySelector(`.ag-row[row-index="${i}"] [col-id="${column}"]`)?.innerText)""",
        [column, n],
    )


def eventually(page, expression):
    """Wait until a JavaScript expression is true; the pages' policy forbids playwright's own way, which is `eval`."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"Never true: {expression}")


def settle(page):
    page.wait_for_load_state("networkidle")


def test_project_progress_loads_and_keeps_its_choices_in_the_url(project, serve, open_page):
    page = open_page(serve(project) + "/")
    page.wait_for_selector("#progress-best .js-plotly-plot .scatterlayer")
    page.wait_for_selector("#progress-activity .js-plotly-plot .bars")
    page.wait_for_selector("#progress-outcomes .js-plotly-plot .bars")
    assert page.locator("#progress-leaderboard tbody tr").count() == 10
    assert "val/accuracy" in page.inner_text("#progress-numbers")
    page.click("#progress-goal")
    page.click("[role=option]:visible:has-text('val/loss')")
    eventually(page, "location.search.includes('goal=val%2Floss&direction=min')")
    page.wait_for_selector("#progress-numbers :text('Best val/loss')")
    page.click("#progress-group-by label:has-text('User')")
    eventually(page, "location.search.includes('by=user_id')")
    page.wait_for_selector("#progress-activity :text('chen')")
    page.go_back()
    page.wait_for_selector("#progress-activity :text('reranker')")
    page.go_back()
    page.wait_for_selector("#progress-numbers :text('Best val/accuracy')")
    assert page.input_value("#progress-goal") == "val/accuracy"
    settle(page)


def test_a_link_restores_project_progress(project, serve, open_page):
    page = open_page(serve(project) + "/?experiment=e2&goal=val%2Floss&direction=min")
    page.wait_for_selector("#progress-numbers :text('Best val/loss')")
    assert page.input_value("#progress-goal") == "val/loss"
    assert "reranker" in page.inner_text(".mantine-MultiSelect-root")
    page.wait_for_selector("#progress-numbers :text-is('24')")
    page.click("#progress-numbers .mlw-link")
    page.wait_for_selector("#runs-count:has-text('1 run')")
    settle(page)


def test_runs_filter_sort_and_error_in_place(project, serve, open_page):
    page = open_page(serve(project) + "/runs")
    page.wait_for_selector("#runs-count:has-text('72 runs')")
    newest = first_cells(page, "attributes.run_name")
    page.click('.ag-header-cell[col-id="metrics.val/loss"]')
    eventually(page, "location.search.includes('order=metrics.val%2Floss%3Adesc')")
    settle(page)
    page.click('.ag-header-cell[col-id="metrics.val/loss"]')
    eventually(page, "location.search.includes('order=metrics.val%2Floss%3Aasc')")
    settle(page)
    values = [float(v) for v in first_cells(page, "metrics.val/loss", 10)]
    assert values == sorted(values)
    assert first_cells(page, "attributes.run_name") != newest
    page.fill("#runs-filter", "metrics.`val/loss` < 0.45")
    page.press("#runs-filter", "Enter")
    page.wait_for_selector("#runs-count:not(:has-text('72 runs'))")
    settle(page)
    assert max(float(v) for v in first_cells(page, "metrics.val/loss", 5)) < 0.45
    shown = page.inner_text("#runs-count")
    page.fill("#runs-filter", "metrics.`val/loss` <")
    page.press("#runs-filter", "Enter")
    page.wait_for_selector("#runs-filter-error")
    assert page.inner_text("#runs-count") == shown
    assert page.locator(".ag-row").count() > 3
    page.go_back()
    page.wait_for_selector("#runs-filter-error", state="detached")
    assert page.input_value("#runs-filter") == "metrics.`val/loss` < 0.45"
    settle(page)


def test_a_link_restores_runs(project, serve, open_page):
    search = "?filter=params.lr+%3D+%270.001%27&order=min.val%2Floss%3Aasc&column=attributes.run_name&column=params.lr"
    page = open_page(serve(project) + "/runs" + search)
    assert set(first_cells(page, "params.lr", 5)) == {"0.001"}
    values = [float(v) for v in first_cells(page, "min.val/loss", 5)]
    assert values == sorted(values)
    assert page.input_value("#runs-filter") == "params.lr = '0.001'"
    assert page.locator(".ag-header-cell[aria-sort=ascending]").count() == 1
    settle(page)
    assert page.evaluate("location.search") == search


def test_a_link_with_a_malformed_filter_shows_the_reason_and_no_grid(project, serve, open_page):
    page = open_page(serve(project) + "/runs?filter=metrics.%60val%2Floss%60+%3C")
    page.wait_for_selector("#runs-filter-error")
    page.wait_for_selector("#runs-trouble:has-text('Mend the filter')")
    assert not page.is_visible("#runs-grid")
    page.fill("#runs-filter", "")
    page.press("#runs-filter", "Enter")
    page.wait_for_selector("#runs-count:has-text('72 runs')")
    first_cells(page, "attributes.run_name")
    settle(page)


def test_ticked_runs_are_compared_and_columns_chosen(project, serve, open_page):
    page = open_page(serve(project) + "/runs?column=attributes.run_name&column=metrics.val%2Floss")
    first_cells(page, "attributes.run_name")
    for i in range(3):
        page.check(f'.ag-row[row-index="{i}"] input[type=checkbox]')
    eventually(page, "document.querySelectorAll('#runs-curves .scatterlayer .trace').length === 3")
    page.fill("#runs-columns", "tags.team")
    page.click("[role=option]:visible:has-text('tags.team')")
    eventually(page, "location.search.includes('column=tags.team')")
    page.wait_for_selector('.ag-header-cell[col-id="tags.team"]')
    eventually(page, "document.querySelector('.ag-row [col-id=\"tags.team\"]')?.innerText.length > 0")
    settle(page)


def test_scrolling_asks_for_further_blocks(warehouse, builder, serve, open_page):
    builder.experiment("e1", "sentiment")
    for i in range(260):
        builder.run(f"{i:032x}", "e1", f"run-{i:03d}", FIRST_DAY.replace(minute=i % 60, hour=i // 60))
    builder.write()
    page = open_page(serve(warehouse) + "/runs?order=attributes.run_name%3Aasc")
    page.wait_for_selector("#runs-count:has-text('260 runs')")
    first_cells(page, "attributes.run_name")
    for _ in range(3):
        page.evaluate("document.querySelector('.ag-body-viewport').scrollTop = 1e6")
        settle(page)
    page.wait_for_selector('.ag-row[row-index="259"]:has-text("run-259")')


def test_two_browsers_do_not_see_each_others_choices(project, serve, open_page):
    url = serve(project)
    mine, theirs = open_page(url + "/"), open_page(url + "/")
    for page in (mine, theirs):
        page.wait_for_selector("#progress-numbers :text('Best val/accuracy')")
    mine.click("#progress-goal")
    mine.click("[role=option]:has-text('train/loss')")
    mine.wait_for_selector("#progress-numbers :text('Best train/loss')")
    theirs.click("#progress-group-by label:has-text('User')")
    theirs.wait_for_selector("#progress-activity :text('chen')")
    assert "Best val/accuracy" in theirs.inner_text("#progress-numbers")
    assert "train" not in theirs.evaluate("location.search")
    theirs.reload()
    theirs.wait_for_selector("#progress-numbers :text('Best val/accuracy')")
    for page in (mine, theirs):
        settle(page)


def test_names_never_become_scripts(warehouse, builder, serve, open_page):
    for i, payload in enumerate(PAYLOADS):
        builder.experiment(f"e{i}", payload)
        builder.run(
            f"{i:032x}", f"e{i}", payload, FIRST_DAY.replace(day=3 + i), user=payload,
            params={payload: payload, "lr": payload}, tags={payload: payload},
            metrics={payload: [1.0, 0.5 - i / 100], "val/loss": [1.0, 0.5 - i / 100]},
        )  # fmt: skip
    builder.write()
    url = serve(warehouse)
    page = open_page(url + "/")
    for search in ("", "?by=user_id&goal=val/loss", "?goal=%3Cimg+src%3Dx+onerror%3D%27window.owned%3D2%27%3E"):
        page.goto(url + "/" + search)
        page.wait_for_selector("#progress-best .js-plotly-plot .scatterlayer")
        page.wait_for_selector("#progress-leaderboard tbody tr")
        settle(page)
        for dot in page.locator("#progress-best .scatterlayer .point").all()[:8]:
            dot.hover(force=True)
    columns = [f"attributes.{a}" for a in ("run_name", "experiment_name", "user_id")] + [
        "params.lr",
        f"tags.{PAYLOADS[2]}",
    ]
    page.goto(f"{url}/runs?{urlencode([('column', c) for c in columns])}")
    assert first_cells(page, "attributes.run_name", 12) == list(PAYLOADS)[::-1]
    assert first_cells(page, "params.lr", 12) == list(PAYLOADS)[::-1]
    page.hover('.ag-row[row-index="0"] [col-id="params.lr"]')
    for i in range(4):
        page.check(f'.ag-row[row-index="{i}"] input[type=checkbox]')
    page.wait_for_selector("#runs-curves .js-plotly-plot .scatterlayer")
    page.click("#runs-columns")
    page.wait_for_selector("[role=option]:visible")
    settle(page)
    assert page.evaluate("window.owned") is None
    assert page.locator("iframe, img[src=x], a[href^='javascript']").count() == 0


def test_a_fresh_warehouse_says_what_to_do_and_fills_by_itself(warehouse, builder, serve, open_page, monkeypatch):
    monkeypatch.setattr("mlwarehouse.dashboards.app.REFRESH_MS", 500)
    url = serve(warehouse)
    progress, runs = open_page(url + "/"), open_page(url + "/runs")
    for page, hidden in ((progress, "#progress-best"), (runs, "#runs-grid")):
        page.wait_for_selector(".mlw-fresh:has-text('mlw.start_run')")
        assert not page.is_visible(hidden)
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "first", metrics={"val/loss": [0.5]})
    builder.write()
    progress.wait_for_selector("#progress-best .js-plotly-plot .scatterlayer")
    assert first_cells(runs, "attributes.run_name", 1) == ["first"]
    builder.run("r2", "e1", "second", FIRST_DAY.replace(day=9), metrics={"val/loss": [0.4]})
    builder.write()
    progress.wait_for_selector("#progress-numbers :text('second')")
    runs.wait_for_selector('.ag-row[row-index="0"]:has-text("second")')


def test_a_phone_needs_no_sideways_scrolling_also_in_the_dark(project, serve, open_page):
    url = serve(project)
    page = open_page(url + "/", color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for path, ready in (
        ("/", "#progress-best .js-plotly-plot"),
        ("/runs", '.ag-row [col-id="attributes.run_name"] .ag-cell-value'),
    ):
        page.goto(url + path)
        page.wait_for_selector(ready)
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"
    assert page.locator(".mlw-navlink").first.bounding_box()["x"] < 0
    page.click("#shell-burger")
    page.click(".mlw-navlink >> nth=0")
    page.wait_for_selector("#progress-best .js-plotly-plot")
    settle(page)
