"""DVCLive's folders: a file of steps a metric, `params.yaml`, and `metrics.json` with the last values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import Batch, Oddity, local_kind
from mlwarehouse.imports.collected import Collected, run_id_of
from mlwarehouse.imports.folders import add_files, files_below
from mlwarehouse.imports.run_folders import RunFolders
from mlwarehouse.imports.settings_file import leaves, params_of
from mlwarehouse.imports.table_file import read_table

_PLOTS, _PARAMS, _LAST = "plots/metrics/", "params.yaml", "metrics.json"
_AT = ("timestamp",)


class DvcLive(RunFolders):
    """A folder with folders of DVCLive's below it, or one of them. See `Source`."""

    def __init__(self, place: str) -> None:
        """Look which runs there are."""
        super().__init__(place, sorted(_runs(place)), "dvclive")

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        for run in self.runs:
            batch = Collected()
            self._read(run, batch)
            yield batch.batch(1)

    def _read(self, run: str, batch: Collected) -> None:
        folder = Path(self.place, run)
        run_id = run_id_of(self.source_id, run)
        plots = sorted(files_below(str(folder / _PLOTS), self.oddities))
        paths = [Path(entry.path) for key, entry in plots if key.endswith(".tsv")]
        times = [p.stat().st_mtime_ns // 1000 for p in (*paths, folder / _PARAMS, folder / _LAST) if p.exists()]
        end = max(times)
        batch.params(run_id, params_of(str(folder / _PARAMS), self.oddities))
        seen = set()
        for key, entry in plots:
            if key.endswith(".tsv"):
                seen.add(key.removesuffix(".tsv"))
                self._points(Path(entry.path), key.removesuffix(".tsv"), run_id, end, batch)
        last = dict(leaves(str(folder / _LAST), "/", self.oddities))
        step = last.pop("step", 0)
        for key, value in last.items():
            if key not in seen and isinstance(value, int | float) and not isinstance(value, bool):
                batch.point(run_id, key, step if isinstance(step, int) else 0, float(value), end)
            elif key not in seen:
                self.oddities.append(Oddity("metric unreadable", str(folder / _LAST), f"`{key}` is {value!r}"))
        batch.run(
            run_id, self.experiment_of(run), name=folder.name, status="FINISHED", started_at=min(times), ended_at=end
        )
        add_files(
            batch.files,
            str(folder),
            run_id,
            self.oddities,
            is_wanted=lambda path: not path.startswith(_PLOTS) and path not in (_PARAMS, _LAST),
        )

    def _points(self, path: Path, key: str, run_id: str, end: int, batch: Collected) -> None:
        try:
            table = read_table(path, self.oddities)
        except InvalidInputError as error:
            self.oddities.append(Oddity("file unreadable", str(path), str(error)))
            return
        values = [name for name in table.column_names if name not in ("step", *_AT)]
        if len(values) != 1:
            detail = f"it has the columns {', '.join(table.column_names) or 'none'}, and should have a step and a value"
            self.oddities.append(Oddity("file unreadable", str(path), detail))
            return
        n = table.num_rows
        steps: list[Any] = table.column("step").to_pylist() if "step" in table.column_names else list(range(n))
        at: list[Any] = table.column(_AT[0]).to_pylist() if _AT[0] in table.column_names else [None] * n
        for step, value, milliseconds in zip(steps, table.column(values[0]).to_pylist(), at, strict=True):
            if not isinstance(step, int) or not isinstance(value, int | float):
                detail = f"step {step!r} has the value {value!r}, and was left out"
                self.oddities.append(Oddity("metric unreadable", str(path), detail))
                continue
            when = milliseconds * 1000 if isinstance(milliseconds, int) and milliseconds > 0 else end
            batch.point(run_id, key, step, float(value), when)


def _runs(place: str) -> set[str]:
    """The folders of runs, by their paths below a place."""
    found = set()
    for path, entry in files_below(place, []):
        before, is_plot, _ = f"/{path}".partition(f"/{_PLOTS}")
        if is_plot and path.endswith(".tsv"):
            found.add(before.strip("/"))
        elif entry.name == _LAST and (Path(place).resolve() / path).parent.name == "dvclive":
            found.add(path.rpartition("/")[0])
    return found


DVCLIVE = local_kind(
    "dvclive",
    "a folder of DVCLive's",
    needs=f"a folder of DVCLive's: nothing below it is called `{_PLOTS}` or `{_LAST}`.",
    claims=lambda place: bool(_runs(place)),
    of=DvcLive,
)
