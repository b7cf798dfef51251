"""The figures: pure functions from a frame to a `plotly` figure, which read no data and know no page.

Backgrounds are transparent and greys are middle ones; ``assets/dashboards.css`` sets text, grid lines and hover boxes
by colour scheme, so that one figure serves light and dark. Colours are those of Okabe and Ito, which colour-blind
people can tell apart. Plotly reads a small HTML in all text, so every text that comes from data passes `plain`.
"""

from __future__ import annotations

import datetime as dt
import html
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PALETTE = ("#2b8cc4", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7ae6")
OTHER = "#98a1aa"
LINE = "#6c757d"
OUTCOMES: dict[str, tuple[str, str]] = {
    "finished": ("Finished", "#2b8cc4"),
    "running": ("Running", "#56b4e9"),
    "scheduled": ("Scheduled", "#98a1aa"),
    "killed": ("Killed", "#e69f00"),
    "failed": ("Failed", "#d55e00"),
    "lost": ("Lost", "#cc79a7"),
}
"""Label and colour of each outcome, in the order of the stack."""

MAX_DOTS = 2_000
MAX_SERIES = 6
_MAX_LABELS = 4
_OTHERS = "other"
_TICKS = {"day": "%-d %b", "week": "%-d %b", "month": "%b %Y"}


def plain(text: Any, limit: int = 48) -> str:
    """Text from data as plotly shows it literally: no markup, no line longer than `limit`."""
    words = "" if text is None or (isinstance(text, float) and math.isnan(text)) else str(text)
    words = " ".join(words.split())
    return html.escape(words if len(words) <= limit else words[: limit - 1] + "…", quote=False)


def number(value: float | None) -> str:
    """A number with four significant digits; an en dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value == int(value) and size < 1e6:
        return f"{int(value):,}"
    if size < 1e-4 or size >= 1e6:
        return f"{value:.3e}"
    return f"{value:#.4g}" if size < 1e3 else f"{value:,.1f}" if size < 1e4 else f"{value:,.0f}"


def best_so_far(data_frame: pd.DataFrame, *, records: pd.DataFrame, goal: str, direction: str) -> go.Figure:
    """Each run as a faint dot, and the best value so far as a line through the runs that set it.

    Args:
        data_frame: A row per run, in order of time: run_name, experiment_name, user_id, value, reached_at.
        records: The rows that beat all before them, in the same columns and order.
        goal: The metric's name, for the axis.
        direction: ``min`` or ``max``: which end of the axis the line runs to.

    Returns:
        The figure; of more than `MAX_DOTS` runs it draws evenly chosen ones, and always every record.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    shown = data_frame.iloc[:: max(1, math.ceil(len(data_frame) / MAX_DOTS))]
    names = shown["experiment_name"].value_counts().index[:MAX_SERIES].tolist()
    for name, color in [*zip(names, PALETTE, strict=False), (_OTHERS, OTHER)]:
        part = shown[~shown["experiment_name"].isin(names) if name == _OTHERS else shown["experiment_name"] == name]
        if len(part):
            figure.add_trace(
                go.Scatter(
                    x=part["reached_at"].dt.tz_localize(None),
                    y=part["value"],
                    mode="markers",
                    name=plain(name, 32),
                    customdata=_hover_lines(part),
                    hovertemplate="%{customdata}<extra></extra>",
                    marker={"color": color, "size": 6, "opacity": 0.5},
                )
            )
    if len(records):
        # The line goes on to the last run: a record stands until somebody beats it.
        xs = [*records["reached_at"].dt.tz_localize(None), data_frame["reached_at"].max().tz_localize(None)]
        ys = [*records["value"], records["value"].iloc[-1]]
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                name="best so far",
                line={"shape": "hv", "width": 2.5, "color": LINE},
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=xs[:-1],
                y=ys[:-1],
                mode="markers",
                name="record",
                customdata=_hover_lines(records),
                hovertemplate="<b>Record</b><br>%{customdata}<extra></extra>",
                marker={"size": 8, "color": LINE},
                showlegend=False,
            )
        )
        for row in _labelled(records):
            figure.add_annotation(
                x=row.reached_at.tz_localize(None),
                y=row.value,
                text=f"{plain(_title(row), 22)}  <b>{number(row.value)}</b>",
                showarrow=False,
                # Beyond a record, before its time, no run can be: a label there hides nothing.
                xanchor="right",
                yshift=-11 if direction == "min" else 11,
                font={"size": 12},
            )
    _style(figure, y_title=plain(goal))
    outside = _frame_the_bulk(figure, data_frame["value"], direction)
    if outside:
        figure.add_annotation(
            text=f"{outside:,} {'run' if outside == 1 else 'runs'} far off the axis",
            xref="paper", yref="paper", x=1, y=1.0 if direction == "min" else 0.0, xanchor="right",
            yanchor="bottom" if direction == "min" else "top", showarrow=False, font={"size": 11}, opacity=0.8,
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    return figure


def activity_bars(data_frame: pd.DataFrame, *, unit: str) -> go.Figure:
    """Runs per calendar unit, stacked by group.

    Args:
        data_frame: starts_at, series, n_runs.
        unit: ``day``, ``week`` or ``month``: how wide a bar is.

    Returns:
        The figure; groups beyond the `MAX_SERIES` largest are drawn together as *other*.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    sizes = data_frame.groupby("series")["n_runs"].sum().sort_values(ascending=False, kind="stable")
    names = sizes.index[:MAX_SERIES].tolist()
    for name, color in [*zip(names, PALETTE, strict=False), (_OTHERS, OTHER)]:
        part = data_frame[~data_frame["series"].isin(names) if name == _OTHERS else data_frame["series"] == name]
        if len(part):
            counts = part.groupby("starts_at")["n_runs"].sum()
            figure.add_trace(
                go.Bar(
                    x=_naive(counts.index),
                    y=counts.to_numpy(),
                    name=plain(name, 32),
                    marker={"color": color},
                    hovertemplate="%{y:,} runs",
                )
            )
    _style(figure, y_title="runs")
    _calendar(figure, data_frame, unit)
    return figure


def outcome_shares(data_frame: pd.DataFrame, *, unit: str) -> go.Figure:
    """The share of each outcome per calendar unit.

    Args:
        data_frame: starts_at, outcome, n_runs.
        unit: ``day``, ``week`` or ``month``: how wide a bar is.

    Returns:
        The figure, with bars that add up to 100 %.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    wide = data_frame.pivot_table(index="starts_at", columns="outcome", values="n_runs", aggfunc="sum", fill_value=0)
    shares = wide.div(wide.sum(axis=1), axis=0)
    for outcome, (label, color) in OUTCOMES.items():
        if outcome in wide:
            figure.add_trace(
                go.Bar(
                    x=_naive(shares.index),
                    y=shares[outcome],
                    name=label,
                    customdata=wide[outcome],
                    marker={"color": color},
                    hovertemplate="%{y:.0%} (%{customdata:,} runs)",
                )
            )
    _style(figure, y_title="share of runs")
    _calendar(figure, data_frame, unit)
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    return figure


def curve_overlay(data_frame: pd.DataFrame, *, key: str) -> go.Figure:
    """One metric of several runs over the step.

    Args:
        data_frame: run_id, series, step, value; one line per pair of run and series.
        key: The metric's name, for the axis.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for i, ((run_id, series), curve) in enumerate(data_frame.groupby(["run_id", "series"], sort=False)):
        name = plain(series, 36)
        figure.add_trace(
            go.Scatter(
                x=curve["step"],
                y=curve["value"],
                mode="lines" if len(curve) > 1 else "markers",
                name=name,
                line={"color": PALETTE[i % len(PALETTE)], "width": 2, "dash": _dash(i)},
                customdata=[plain(str(run_id)[:8])] * len(curve),
                hovertemplate="<b>%{y:.5g}</b> at step %{x} · run %{customdata}",
            )
        )
    _style(figure, y_title=plain(key))
    figure.update_layout(hovermode="x unified", xaxis={"title": {"text": "step"}}, showlegend=True)
    return figure


def _naive(index: Any) -> Any:
    # Plotly shows times as they are written: UTC, without an offset.
    return index.tz_localize(None)


def _dash(i: int) -> str:
    return ("solid", "dash", "dot")[(i // len(PALETTE)) % 3]


def _hover_lines(rows: pd.DataFrame) -> list[str]:
    found: Any = rows.itertuples()
    return [
        f"<b>{plain(_title(r))}</b>  {number(r.value)}<br>{plain(r.experiment_name)}"
        f"{' · ' + plain(r.user_id, 24) if r.user_id else ''}<br>{r.reached_at:%d %b %Y %H:%M}"
        for r in found
    ]


def _title(run: Any) -> str:
    return str(run.run_name) if isinstance(run.run_name, str) and run.run_name else str(run.run_id)[:8]


def _labelled(records: pd.DataFrame) -> list[Any]:
    """The newest records that stand far enough apart for a label each."""
    first = records["reached_at"].min()
    span = (records["reached_at"].max() - first).total_seconds() or 1.0
    chosen: list[Any] = []
    for row in list(records.itertuples())[::-1]:
        has_room = (row.reached_at - first).total_seconds() > span * 0.18
        if has_room and all(abs((row.reached_at - c.reached_at).total_seconds()) > span * 0.22 for c in chosen):
            chosen.append(row)
        if len(chosen) == _MAX_LABELS:
            break
    return chosen


def _frame_the_bulk(figure: go.Figure, values: pd.Series[float], direction: str) -> int:
    """Keep a few wild runs from flattening all others; returns how many are off the axis."""
    if len(values) < 10:
        return 0
    low, high = float(values.min()), float(values.max())
    near, far = (low, float(values.quantile(0.9))) if direction == "min" else (high, float(values.quantile(0.1)))
    if near == far or abs((high if direction == "min" else low) - near) <= 3 * abs(far - near):
        return 0
    end = near + 1.6 * (far - near)
    pad = 0.12 * (near - end)
    figure.update_yaxes(range=sorted([near + pad, end]))
    return int(((values > end) if direction == "min" else (values < end)).sum())


def _calendar(figure: go.Figure, data_frame: pd.DataFrame, unit: str) -> None:
    width = {"day": 1, "week": 7, "month": 28}[unit] * 86_400_000
    figure.update_traces(width=width * 0.82)
    figure.update_layout(barmode="stack", hovermode="x unified", legend={"traceorder": "normal"})
    figure.update_xaxes(hoverformat={"day": "%a %-d %b %Y", "week": "week of %-d %b %Y", "month": "%B %Y"}[unit])
    starts = data_frame["starts_at"].drop_duplicates()
    if 0 < len(starts) <= 6:
        # Room on both sides: a single day isn't a wall.
        room = dt.timedelta(milliseconds=width * 4)
        whole = starts.dt.tz_localize(None)
        figure.update_xaxes(range=[whole.min() - room, whole.max() + room])
        figure.update_xaxes(tickvals=starts.dt.tz_localize(None).tolist(), tickformat=_TICKS[unit])


def _style(figure: go.Figure, *, y_title: str) -> None:
    axis = {
        "gridcolor": "#868e96",
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "ticklen": 5,
        "tickcolor": "rgba(0,0,0,0)",
    }
    figure.update_layout(
        template=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "inherit", "size": 12, "color": "#868e96"},
        margin={"l": 8, "r": 12, "t": 4, "b": 0},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
        hoverlabel={"align": "left", "font": {"size": 12}, "namelength": 36},
        xaxis=axis | {"showgrid": False},
        yaxis=axis | {"title": {"text": y_title, "standoff": 14}, "separatethousands": True},
        bargap=0.2,
        # A refresh of the data leaves the visitor's zoom alone.
        uirevision="kept",
    )  # fmt: skip
