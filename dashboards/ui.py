"""The pieces that pages are laid out with. Text from data goes in as children, which React shows literally."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from mlwarehouse.errors import WarehouseError

GRAPH_CONFIG: Any = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "responsive": True,
}


def icon(name: str) -> Any:
    """A small picture from ``assets/dashboards.css``, in the colour of the text around it."""
    return html.Span(className=f"mlw-icon mlw-icon-{name}")


def page(title: str, description: str, *children: Any) -> Any:
    """A page: its title, one line on what it answers, and its parts below each other."""
    heading = dmc.Box([dmc.Title(title, order=2, className="mlw-title"), dmc.Text(description, c="dimmed", size="sm")])
    return dmc.Stack([heading, *children], gap="md", className="mlw-page")


def field(width: str, control: Any) -> Any:
    """A control in a row of controls, ``narrow``, ``wide`` or ``widest``; a phone gives each the whole width."""
    return html.Div(control, className=f"mlw-field-{width}")


def panel(title: str, box_id: str, *, height: int, hint: str = "", side: Any = None) -> Any:
    """A titled card whose content a callback puts into the box `box_id`.

    Args:
        title: What the card shows.
        box_id: Id of the box; a skeleton of its later size stands in it until then.
        height: Pixels that the content takes.
        hint: One line below the title.
        side: A control at the title's right.
    """
    words = [dmc.Text(title, fw=600, size="sm")]
    if hint:
        words.append(dmc.Text(hint, size="xs", c="dimmed"))
    head = dmc.Group(
        [dmc.Box(words), *([side] if side is not None else [])], justify="space-between", align="flex-start"
    )
    body = dcc.Loading(
        html.Div(dmc.Skeleton(height=height, radius="sm"), id=box_id, style={"minHeight": height}),
        delay_show=400,
        overlay_style={"visibility": "visible", "opacity": 0.55},
        type="dot",
        color="var(--mantine-primary-color-filled)",
    )
    return dmc.Paper(
        [head, dmc.Box(body, mt="xs")], withBorder=True, radius="md", p="md", className="mlw-panel mlw-needs-runs"
    )


def graph(figure: Any, *, height: int, style_class: str = "") -> Any:
    """A figure of a fixed height and the width of its card; `style_class` is one of the style sheet's."""
    return dcc.Graph(
        figure=figure, config=GRAPH_CONFIG, style={"height": height}, responsive=True, className=style_class
    )


def number_card(label: str, value: str, note: Any = "", *, is_wide: bool = False) -> Any:
    """One number with its label above and a note below."""
    return dmc.Paper(
        [
            dmc.Text(label, size="xs", c="dimmed", fw=500, truncate="end"),
            dmc.Text(value, className="mlw-number", truncate="end"),
            dmc.Box(note, className="mlw-note"),
        ],
        withBorder=True,
        radius="md",
        p="md",
        className="mlw-card mlw-card-wide" if is_wide else "mlw-card",
    )


def empty(title: str, text: str, *, code: str = "", height: int | None = None) -> Any:
    """What stands where there is nothing to show: why, and what to do next."""
    parts = [dmc.Text(title, fw=600), dmc.Text(text, c="dimmed", size="sm", ta="center", maw=520)]
    if code:
        parts.append(dmc.Code(code, block=True, className="mlw-code"))
    style = {"minHeight": height} if height else {}
    return dmc.Stack(parts, align="center", justify="center", gap="xs", p="lg", style=style, className="mlw-empty")


def failure(message: str, *, title: str = "This can't be shown") -> Any:
    """A failure in the place of what failed."""
    return dmc.Alert(message, title=title, color="red", variant="light", radius="md", className="mlw-failure")


def fresh_warehouse() -> Any:
    """What a warehouse without runs shows."""
    code = (
        "import mlwarehouse as mlw\n\n"
        'with mlw.start_run(experiment="first"):\n'
        '    mlw.log_params({"lr": 1e-3})\n'
        '    mlw.log_metric("val/loss", 0.41, step=1)'
    )
    text = "Log a run as below, or import runs with the command mlwarehouse import. This page then fills by itself."
    card = dmc.Paper(empty("No runs yet", text, code=code, height=280), withBorder=True, radius="md")
    return html.Div(card, className="mlw-fresh")


def shows_failures(render: Callable[..., Any]) -> Callable[..., Any]:
    """Make a callback that fills one box show the warehouse's own errors there, each in its panel."""

    @functools.wraps(render)
    def guarded(*values: Any) -> Any:
        try:
            return render(*values)
        except WarehouseError as error:
            return failure(str(error))

    return guarded
