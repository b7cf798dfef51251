"""Our own server as a source of an import, asked as MLflow's is."""

from __future__ import annotations

import math

from mlwarehouse import Warehouse


def test_what_a_server_of_ours_has_is_imported(server, client, new_name, tmp_path):
    name = new_name()
    experiment = client.create_experiment(name)
    run = client.create_run(experiment, run_name="one", tags={"team": "vision"})
    client.log_param(run.info.run_id, "lr", 0.1)
    for step, value in enumerate([0.5, math.nan, 0.25]):
        client.log_metric(run.info.run_id, "loss", value, step=step)
    client.log_text(run.info.run_id, "hi", "notes/x.txt")
    client.set_terminated(run.info.run_id)
    other = Warehouse(tmp_path / "wh", committer="off")
    report = other.import_(server.uri)
    assert report.added["runs"] >= 1
    (row,) = other.search_runs(experiment_names=[name], output_format="list")
    assert (row.info.run_id, row.info.run_name, row.info.status) == (run.info.run_id, "one", "FINISHED")
    assert (row.data.params, row.data.metrics["loss"], row.data.tags["team"]) == ({"lr": "0.1"}, 0.25, "vision")
    assert row.info.start_time == client.get_run(run.info.run_id).info.start_time
    points = other.metric_history(run_ids=[run.info.run_id])
    assert [str(v) for v in points["value"]] == ["0.5", "nan", "0.25"]
    files = other.engine().query("SELECT path FROM artifacts WHERE run_id = $r", parameters={"r": run.info.run_id})
    assert files.to_pylist() == [{"path": "notes/x.txt"}]
    again = other.import_(server.uri, artifacts="leave")
    assert (again.added["runs"], again.added["points"], again.added["artifacts"]) == (0, 0, 0)
    other.close()
