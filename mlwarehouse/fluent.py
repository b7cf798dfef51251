"""The module-level functions: each calls the method of the same name on the process's current warehouse or run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import RunStatus
from mlwarehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from mlwarehouse.ingest.run import ActiveRun

_current: Warehouse | None = None


def set_warehouse(uri: str | Path, **settings: str | float | bool) -> Warehouse:
    """Choose the warehouse that the module-level functions use.

    Runs that are active in the one before are ended.

    Args:
        uri: Its folder; it is made when something is logged.
        **settings: Settings that win over the environment's, see the docs.

    Returns:
        The warehouse.

    Raises:
        InvalidInputError: An unknown setting, or an address that isn't a local folder.
    """
    global _current
    chosen = Warehouse(uri, **settings)
    if _current is not None:
        _current.close()
    _current = chosen
    return chosen


def get_warehouse() -> Warehouse:
    """The warehouse that the module-level functions use: the one chosen, or the one the setting ``uri`` names."""
    global _current
    if _current is None:
        _current = Warehouse()
    return _current


def _run() -> ActiveRun:
    return get_warehouse().need_active_run()


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    *,
    experiment: str | None = None,
    join: bool | None = None,
    fork_from: str | None = None,
    fork_step: int | None = None,
) -> ActiveRun:
    """Start a run, resume one, join one, or fork one; see `Warehouse.start_run`."""
    return get_warehouse().start_run(
        run_id,
        experiment_id,
        run_name,
        nested,
        parent_run_id,
        tags,
        description,
        experiment=experiment,
        join=join,
        fork_from=fork_from,
        fork_step=fork_step,
    )


def end_run(status: str = RunStatus.FINISHED) -> None:
    """End the active run, if there is one."""
    get_warehouse().end_run(status)


def active_run() -> ActiveRun | None:
    """The active run, or None."""
    return get_warehouse().active_run()


def set_experiment(name: str) -> str:
    """Choose the experiment of the runs that follow; see `Warehouse.set_experiment`."""
    return get_warehouse().set_experiment(name)


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    timestamp: int | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Log one metric point to the active run; see `ActiveRun.log_metric`."""
    try:
        # The short way first: this stands between a training loop and its every point.
        run = _current.recorder.stack.get()[-1]  # type: ignore[union-attr]
        if run.is_ended:
            run = _run()
    except (AttributeError, IndexError):
        run = _run()
    run.log_metric(key, value, step, timestamp, context)


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    timestamp: int | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Log points of several metrics to the active run; see `ActiveRun.log_metrics`."""
    _run().log_metrics(metrics, step, timestamp, context)


def log_param(key: str, value: Any) -> None:
    """Set one param of the active run; see `ActiveRun.log_params`."""
    _run().log_param(key, value)


def log_params(params: Mapping[str, Any]) -> None:
    """Set params of the active run; see `ActiveRun.log_params`."""
    _run().log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set one tag of the active run."""
    _run().set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the active run."""
    _run().set_tags(tags)


def delete_tag(key: str) -> None:
    """Remove a tag of the active run."""
    _run().delete_tag(key)


def log_batch(metrics: Iterable[Any] = (), params: Iterable[Any] = (), tags: Iterable[Any] = ()) -> None:
    """Log metric points, params and tags to the active run; see `ActiveRun.log_batch`."""
    _run().log_batch(metrics, params, tags)


def bulk_log_metrics(points: Any, *, source_id: str, run_id: str | None = None, key: str | None = None) -> Any:
    """Log many metric points of runs at once; see `Warehouse.bulk_log_metrics`."""
    return get_warehouse().bulk_log_metrics(points, source_id=source_id, run_id=run_id, key=key)


def import_(
    source: str | Path,
    *,
    kind: str | None = None,
    source_id: str | None = None,
    artifacts: str = "copy",
    columns: Mapping[str, str] | None = None,
    dry_run: bool = False,
    on_progress: Any = None,
) -> Any:
    """Import another tracker's runs and models; see `Warehouse.import_`."""
    return get_warehouse().import_(
        source,
        kind=kind,
        source_id=source_id,
        artifacts=artifacts,
        columns=columns,
        dry_run=dry_run,
        on_progress=on_progress,
    )


def merge(other: Any, *, dry_run: bool = False, on_progress: Any = None) -> Any:
    """Bring what another warehouse has and this one lacks; see `Warehouse.merge`."""
    return get_warehouse().merge(other, dry_run=dry_run, on_progress=on_progress)


def export(target: str | Path, *, experiment_names: Sequence[str] | None = None, on_progress: Any = None) -> Any:
    """Hand out what is here: as a folder of Parquet files, or to a server of MLflow's; see `Warehouse.export`."""
    return get_warehouse().export(target, experiment_names=experiment_names, on_progress=on_progress)


def log_artifact(local_path: str | Path, artifact_path: str | None = None) -> None:
    """Store a file or folder with the active run; see `ActiveRun.log_artifact`."""
    _run().log_artifact(local_path, artifact_path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None) -> None:
    """Store all files under a folder with the active run."""
    _run().log_artifacts(local_dir, artifact_path)


def log_text(text: str, artifact_file: str) -> None:
    """Store text as a file of the active run."""
    _run().log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str) -> None:
    """Store something as a JSON file of the active run."""
    _run().log_dict(dictionary, artifact_file)


def log_input(dataset: Any, *, name: str | None = None, context: str | None = None, source: str | None = None) -> None:
    """Record a dataset that the active run uses; see `ActiveRun.log_input`."""
    _run().log_input(dataset, name=name, context=context, source=source)


def log_model(model: Any, name: str = "model", **options: Any) -> Any:
    """Package a model and store it with the active run; see `Warehouse.log_model`."""
    return get_warehouse().log_model(model, name, **options)


def search_runs(*arguments: Any, **options: Any) -> Any:
    """Find runs; see `Warehouse.search_runs`."""
    return get_warehouse().search_runs(*arguments, **options)


def sql(query: str, **options: Any) -> Any:
    """Answer one ``SELECT``; see `Warehouse.sql`."""
    return get_warehouse().sql(query, **options)


def report(name: str, **options: Any) -> Any:
    """Answer one of the reports that come with the package; see `Warehouse.report`."""
    return get_warehouse().report(name, **options)


def reports() -> Any:
    """The reports that there are; see `Warehouse.reports`."""
    return get_warehouse().reports()


def metric_history(run_ids: Sequence[str] | None = None, keys: Sequence[str] | None = None, **options: Any) -> Any:
    """Every metric point in one frame; see `Warehouse.metric_history`."""
    return get_warehouse().metric_history(run_ids, keys, **options)


def get_run(run_id: str, **options: Any) -> Any:
    """One run; see `Warehouse.get_run`."""
    return get_warehouse().get_run(run_id, **options)


def changes(since: Any = None, until: Any = None, **options: Any) -> Any:
    """Tell what happened, as events in one order; see `Warehouse.changes`."""
    return get_warehouse().changes(since, until, **options)


def snapshot(**options: Any) -> Any:
    """Take a snapshot of all tables, and keep it with ``keep=True``; see `Warehouse.snapshot`."""
    return get_warehouse().snapshot(**options)


def flush(timeout_s: float = 60.0) -> None:
    """Have everything logged on this machine committed; see `Warehouse.flush`."""
    get_warehouse().flush(timeout_s)


def register_model(model_uri: str, name: str, **options: Any) -> Any:
    """Make a logged model the next version of a registered model; see `Warehouse.register_model`."""
    return get_warehouse().register_model(model_uri, name, **options)


def load_model(model_uri: str, **options: Any) -> Any:
    """Load a model; see `Warehouse.load_model`."""
    return get_warehouse().load_model(model_uri, **options)


def set_model_alias(name: str, alias: str, version: int | str, *, comment: str | None = None) -> None:
    """Point an alias at a version."""
    get_warehouse().set_model_alias(name, alias, version, comment=comment)


def delete_model_alias(name: str, alias: str, *, comment: str | None = None) -> None:
    """Remove an alias; its history stays."""
    get_warehouse().delete_model_alias(name, alias, comment=comment)


def transition_model_version_stage(
    name: str, version: int | str, stage: str, archive_existing_versions: bool = False, *, comment: str | None = None
) -> Any:
    """Move a version to a stage; see `Warehouse.transition_model_version_stage`."""
    return get_warehouse().transition_model_version_stage(
        name, version, stage, archive_existing_versions, comment=comment
    )


def set_model_version_tag(name: str, version: int | str, key: str, value: Any) -> None:
    """Set a tag of a version."""
    get_warehouse().set_model_version_tag(name, version, key, value)


def get_model_version(name: str, version: int | str, **options: Any) -> Any:
    """One version of a registered model; see `Warehouse.get_model_version`."""
    return get_warehouse().get_model_version(name, version, **options)


def get_model_version_by_alias(name: str, alias: str, **options: Any) -> Any:
    """The version that an alias points at; see `Warehouse.get_model_version_by_alias`."""
    return get_warehouse().get_model_version_by_alias(name, alias, **options)


def search_registered_models(filter_string: str = "", **options: Any) -> Any:
    """Registered models; see `Warehouse.search_registered_models`."""
    return get_warehouse().search_registered_models(filter_string, **options)


def search_model_versions(filter_string: str = "", **options: Any) -> Any:
    """Versions of registered models; see `Warehouse.search_model_versions`."""
    return get_warehouse().search_model_versions(filter_string, **options)


def spark(**options: Any) -> Any:
    """A Spark session with every table and view registered; see `Warehouse.spark`."""
    return get_warehouse().spark(**options)


def register(spark: Any, namespace: str = "mlwarehouse", **options: Any) -> tuple[str, ...]:
    """Show every table and view in a Spark session's catalog; see `Warehouse.register`."""
    return get_warehouse().register(spark, namespace, **options)


def unregister(spark: Any, namespace: str = "mlwarehouse") -> None:
    """Take them out of the catalog again; see `Warehouse.unregister`."""
    get_warehouse().unregister(spark, namespace)


def thrift_server(**options: Any) -> Any:
    """Start Spark's Thrift server over tables and views; see `Warehouse.thrift_server`."""
    return get_warehouse().thrift_server(**options)


def spark_udf(spark: Any, model_uri: str, **options: Any) -> Any:
    """A model as a Spark UDF; see `Warehouse.spark_udf`."""
    return get_warehouse().spark_udf(spark, model_uri, **options)


def register_udf(spark: Any, name: str, model_uri: str, **options: Any) -> Any:
    """A model as a function of Spark SQL; see `Warehouse.register_udf`."""
    return get_warehouse().register_udf(spark, name, model_uri, **options)


def score(data: Any, model_uri: str, **options: Any) -> Any:
    """Score rows with a model and keep the predictions; see `Warehouse.score`."""
    return get_warehouse().score(data, model_uri, **options)


def score_stream(stream: Any, model_uri: str, **options: Any) -> Any:
    """Score a stream of Spark's, each row once; see `Warehouse.score_stream`."""
    return get_warehouse().score_stream(stream, model_uri, **options)


def log_labels(data: Any, **options: Any) -> Any:
    """Record the truth for scored rows; see `Warehouse.log_labels`."""
    return get_warehouse().log_labels(data, **options)
