"""*Project progress*: how far a project has come, for those who lead it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, ctx, dcc, html, no_update

from mlwarehouse.errors import WarehouseError

from .. import data, figures, ui
from ..ids import Progress as Id
from ..ids import Shell
from ..site import Page, Site
from ..state import PROGRESS_PATH, RUNS_PATH, ProgressState, RunsState

_DIRECTION_LABELS = [{"value": "min", "label": "Lower is better"}, {"value": "max", "label": "Higher is better"}]
_GROUP_LABELS = [{"value": "experiment_name", "label": "Experiment"}, {"value": "user_id", "label": "User"}]
_BEST_HEIGHT, _CHART_HEIGHT, _BOARD_HEIGHT = 360, 270, 200


def layout(site: Site, search: str) -> Any:
    """The page for a query string."""
    asked = ProgressState.from_search(search)
    known = data.experiments(site.reader)
    state = data.resolve(site.reader, asked)
    controls = dmc.Paper(
        dmc.Group(
            [
                ui.field(
                    "wide",
                    dmc.MultiSelect(
                        id=Id.EXPERIMENTS,
                        label="Experiments",
                        placeholder="" if state.experiments else "All experiments",
                        data=_experiment_options(known),
                        value=list(state.experiments),
                        searchable=True,
                        clearable=True,
                        limit=100,
                    ),
                ),
                ui.field(
                    "narrow",
                    dmc.Select(
                        id=Id.GOAL,
                        label="Goal metric",
                        placeholder="No metrics yet",
                        data=_goal_options(site, state),
                        value=state.goal,
                        searchable=True,
                        allowDeselect=False,
                        limit=100,
                    ),
                ),
                dmc.SegmentedControl(id=Id.DIRECTION, data=_DIRECTION_LABELS, value=state.direction or "max"),
            ],
            align="flex-end",
            gap="md",
        ),
        withBorder=True,
        radius="md",
        p="md",
        className="mlw-panel",
    )
    grouping = dmc.SegmentedControl(id=Id.GROUP_BY, data=_GROUP_LABELS, value=state.group_by, size="xs")
    charts = dmc.SimpleGrid(
        [
            ui.panel("Activity", Id.ACTIVITY, height=_CHART_HEIGHT, hint="Runs started", side=grouping),
            ui.panel("Outcomes", Id.OUTCOMES, height=_CHART_HEIGHT, hint="How the runs ended"),
        ],
        cols={"base": 1, "md": 2},
        spacing="md",
        className="mlw-needs-runs",
    )
    return ui.page(
        "Project progress",
        "How good the best run is, how it got there, and what is running.",
        dcc.Location(id=Id.LOCATION, refresh=False, search=search),
        controls,
        html.Div(_notice(state, known), id=Id.NOTICE),
        html.Div(dmc.Skeleton(height=104, radius="md"), id=Id.NUMBERS),
        ui.panel("Best so far", Id.BEST, height=_BEST_HEIGHT, hint="A dot is a run; the line is the best until then"),
        charts,
        ui.panel(
            "Leaderboard", Id.LEADERBOARD, height=_BOARD_HEIGHT, hint="The ten best runs and their differing params"
        ),
    )


def register(app: Dash, site: Site) -> None:
    """Add the page's callbacks."""
    reader = site.reader
    asked = (Input(Id.LOCATION, "search"), Input(Shell.VERSIONS, "data"))
    asked_now = (Input(Id.LOCATION, "search"), Input(Shell.MOMENT, "data"))

    # One callback for both ways, since Dash allows a circle only within one: the URL sets the controls (link, back
    # button), and the controls set the URL.
    @app.callback(
        Output(Id.LOCATION, "search"),
        Output(Id.EXPERIMENTS, "value"),
        Output(Id.EXPERIMENTS, "placeholder"),
        Output(Id.GOAL, "data"),
        Output(Id.GOAL, "value"),
        Output(Id.DIRECTION, "value"),
        Output(Id.GROUP_BY, "value"),
        Output(Id.NOTICE, "children"),
        Input(Id.LOCATION, "search"),
        Input(Id.EXPERIMENTS, "value"),
        Input(Id.GOAL, "value"),
        Input(Id.DIRECTION, "value"),
        Input(Id.GROUP_BY, "value"),
        prevent_initial_call=True,
    )
    def follow(search: str, experiments: list[str], goal: str | None, direction: str, group_by: str) -> tuple[Any, ...]:
        state = ProgressState.from_search(search)
        if ctx.triggered_id != Id.LOCATION:
            state = _after_choice(site, state, ctx.triggered_id, tuple(experiments or ()), goal, direction, group_by)
        try:
            shown = data.resolve(reader, state)
            known = data.experiments(reader)
            options = _goal_options(site, shown)
        except WarehouseError as error:
            return (*[no_update] * 7, ui.failure(str(error)))
        return (
            no_update if state.to_search() == (search or "") else state.to_search(),
            list(shown.experiments),
            "" if shown.experiments else "All experiments",
            options,
            shown.goal,
            shown.direction or "max",
            shown.group_by,
            _notice(shown, known),
        )

    @app.callback(Output(Id.NUMBERS, "children"), *asked_now)
    @ui.shows_failures
    def numbers(search: str, _: str) -> Any:
        return _numbers(site, data.resolve(reader, ProgressState.from_search(search)))

    @app.callback(Output(Id.BEST, "children"), *asked)
    @ui.shows_failures
    def best(search: str, _: str) -> Any:
        return _best(site, data.resolve(reader, ProgressState.from_search(search)))

    @app.callback(Output(Id.ACTIVITY, "children"), *asked)
    @ui.shows_failures
    def activity(search: str, _: str) -> Any:
        state = ProgressState.from_search(search)
        unit = data.period(reader, state.experiments)
        frame = data.activity(reader, state.experiments, group_by=state.group_by, unit=unit)
        if frame.empty:
            return ui.empty("No runs", "Runs appear here on the day they start.", height=_CHART_HEIGHT)
        return ui.graph(figures.activity_bars(frame, unit=unit), height=_CHART_HEIGHT)

    @app.callback(Output(Id.OUTCOMES, "children"), *asked_now)
    @ui.shows_failures
    def outcomes(search: str, _: str) -> Any:
        state = ProgressState.from_search(search)
        unit = data.period(reader, state.experiments)
        frame = data.outcomes(reader, state.experiments, unit=unit)
        if frame.empty:
            return ui.empty("No runs", "The shares of finished, failed and lost runs.", height=_CHART_HEIGHT)
        return ui.graph(figures.outcome_shares(frame, unit=unit), height=_CHART_HEIGHT)

    @app.callback(Output(Id.LEADERBOARD, "children"), *asked)
    @ui.shows_failures
    def leaderboard(search: str, _: str) -> Any:
        return _leaderboard(site, data.resolve(reader, ProgressState.from_search(search)))


PAGE = Page(name="Progress", path=PROGRESS_PATH, icon="progress", layout=layout, register=register)


def _after_choice(
    site: Site,
    state: ProgressState,
    chosen: str | None,
    experiments: tuple[str, ...],
    goal: str | None,
    direction: str,
    group_by: str,
) -> ProgressState:
    """The state after a control was used; what follows from a new goal is guessed anew."""
    if chosen == Id.EXPERIMENTS:
        offered = set(data.goals(site.reader, experiments)["series"])
        kept = state.goal if state.goal in offered else None
        return replace(state, experiments=experiments, goal=kept, direction=state.direction if kept else None)
    if chosen == Id.GOAL and goal:
        return replace(state, goal=goal, direction=data.default_direction(goal))
    if chosen == Id.DIRECTION:
        return replace(state, goal=state.goal or goal, direction=direction)
    if chosen == Id.GROUP_BY:
        return replace(state, group_by=group_by)
    return state


def _experiment_options(known: Any) -> list[dict[str, str]]:
    return [{"value": e.experiment_id, "label": f"{e.name} ({e.n_runs:,})"} for e in known.itertuples()]


def _goal_options(site: Site, state: ProgressState) -> list[dict[str, str]]:
    offered = data.goals(site.reader, state.experiments)
    options = [{"value": s, "label": s} for s in offered["series"]]
    if state.goal and state.goal not in set(offered["series"]):
        options.append({"value": state.goal, "label": state.goal})
    return options


def _notice(state: ProgressState, known: Any) -> Any:
    """What the link asks for and isn't there."""
    missing = [e for e in state.experiments if e not in set(known["experiment_id"])]
    if not missing:
        return []
    return ui.failure(
        f"The link names {'experiments' if len(missing) > 1 else 'an experiment'} that isn't in this warehouse: "
        f"{', '.join(missing)}. Choose from the list above.",
        title="Unknown experiment",
    )


def _numbers(site: Site, state: ProgressState) -> Any:
    row = data.totals(site.reader, state.experiments).iloc[0]
    if row["n_runs"] == 0 and not state.experiments:
        return ui.fresh_warehouse()
    share = f"{row['n_finished'] / row['n_ended']:.0%}" if row["n_ended"] else "–"
    unsuccessful = [f"{row['n_' + word]:,} {word}" for word in ("failed", "killed") if row["n_" + word]]
    best, best_note = "–", dmc.Text("no run has the goal metric", size="xs", c="dimmed")
    if state.goal and state.direction:
        records = data.records(site.reader, state.experiments, goal=state.goal, direction=state.direction)
        if len(records):
            top = records.iloc[-1]
            best, best_note = figures.number(top["value"]), _run_link(site, top)
    lost = f"{row['n_lost']:,} lost" if row["n_lost"] else "none lost"
    hours = row["duration_s"] / 3600
    cards = [
        ui.number_card(f"Best {state.goal or 'goal'}", best, best_note, is_wide=True),
        ui.number_card("Runs", f"{row['n_runs']:,}", _dim(f"{row['n_ended']:,} ended")),
        ui.number_card("Success", share, _dim(", ".join(unsuccessful) or "none failed")),
        ui.number_card("Active now", f"{row['n_active']:,}", _dim(lost, is_bad=bool(row["n_lost"]))),
        ui.number_card("Compute hours", figures.number(round(hours, 1)), _dim("of ended runs")),
    ]
    return html.Div(cards, className="mlw-numbers")


def _best(site: Site, state: ProgressState) -> Any:
    if not state.goal or not state.direction:
        return ui.empty("No metrics", "Log a metric with mlw.log_metric to follow it here.", height=_BEST_HEIGHT)
    choice = {"goal": state.goal, "direction": state.direction}
    frame = data.progress(site.reader, state.experiments, **choice)
    if frame.empty:
        text = f"No run of the chosen experiments has a finite value of {state.goal}. Choose another goal metric."
        return ui.empty("Nothing to compare", text, height=_BEST_HEIGHT)
    records = data.records(site.reader, state.experiments, **choice)
    figure = figures.best_so_far(frame, records=records, **choice)
    return ui.graph(figure, height=_BEST_HEIGHT, style_class="mlw-best")


def _leaderboard(site: Site, state: ProgressState) -> Any:
    if not state.goal or not state.direction:
        return ui.empty("No metrics", "The best runs appear here once runs have a metric.", height=_BOARD_HEIGHT)
    board = data.leaderboard(site.reader, state.experiments, goal=state.goal, direction=state.direction)
    if board.empty:
        return ui.empty("Nothing to rank", f"No run has a finite value of {state.goal}.", height=_BOARD_HEIGHT)
    params = [c for c in board.columns if c.startswith("params.")]
    several = board["experiment_name"].nunique() > 1
    head = ["#", "Run", *(["Experiment"] if several else []), state.goal, *[p.removeprefix("params.") for p in params]]
    head += ["User", "Reached"]
    body = []
    for rank, (_, row) in enumerate(board.iterrows(), start=1):
        cells = [
            dmc.TableTd(str(rank), c="dimmed"),
            dmc.TableTd(_run_link(site, row)),
            *([dmc.TableTd(row["experiment_name"])] if several else []),
            dmc.TableTd(figures.number(row["value"]), fw=600, className="mlw-figure"),
            *[dmc.TableTd(row[p] if isinstance(row[p], str) else "–", className="mlw-figure") for p in params],
            dmc.TableTd(row["user_id"] or "–", c="dimmed"),
            dmc.TableTd(f"{row['reached_at']:%d %b %H:%M}", c="dimmed"),
        ]
        body.append(dmc.TableTr(cells))
    numeric = {state.goal, *[p.removeprefix("params.") for p in params]}
    header = [dmc.TableTh(h, className="mlw-figure" if h in numeric else "") for h in head]
    table = dmc.Table(
        [dmc.TableThead(dmc.TableTr(header)), dmc.TableTbody(body)], highlightOnHover=True, verticalSpacing=6, fz="sm"
    )
    return dmc.TableScrollContainer(table, minWidth=560)


def _run_link(site: Site, run: Any) -> Any:
    quoted = str(run["run_id"]).replace("'", "")
    search = RunsState(filter=f"attributes.run_id = '{quoted}'").to_search()
    name = run["run_name"] or str(run["run_id"])[:8]
    return dcc.Link(name, href=site.href(RUNS_PATH, search), className="mlw-link", title=str(run["run_id"]))


def _dim(text: str, *, is_bad: bool = False) -> Any:
    return dmc.Text(text, size="xs", c="orange" if is_bad else "dimmed", truncate="end")
