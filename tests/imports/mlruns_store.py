"""An `mlruns` folder as MLflow writes it, small and with all that such folders were seen to have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

START = 1_700_000_000_000


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def experiment(root: Path, experiment_id: str, name: str, *, folder: str | None = None, stage: str = "active") -> Path:
    place = root / (folder or experiment_id)
    write(
        place / "meta.yaml",
        f"artifact_location: file:///gone/{experiment_id}\ncreation_time: {START}\nexperiment_id: '{experiment_id}'\n"
        f"last_update_time: {START}\nlifecycle_stage: {stage}\nname: {name}\n",
    )
    return place


def run(
    place: Path,
    run_id: str,
    *,
    metrics: Mapping[str, str] | None = None,
    params: Mapping[str, str | bytes] | None = None,
    tags: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    status: int = 3,
    end: int | None = START + 60_000,
    more: str = "",
) -> Path:
    folder = place / run_id
    write(
        folder / "meta.yaml",
        f"artifact_uri: file:///gone/{run_id}/artifacts\nend_time: {'null' if end is None else end}\n"
        f"entry_point_name: ''\nexperiment_id: '{place.name}'\nlifecycle_stage: active\nrun_id: {run_id}\n"
        f"run_name: run {run_id[:4]}\nrun_uuid: {run_id}\nstart_time: {START}\nstatus: {status}\ntags: []\n"
        f"user_id: ann\n{more}",
    )
    for kind, given in (("metrics", metrics), ("params", params), ("tags", tags), ("artifacts", files)):
        (folder / kind).mkdir(exist_ok=True)
        for name, content in (given or {}).items():
            write(folder / kind / name, content)
    return folder


def lines(*values: str, step: int = 0) -> str:
    return "".join(f"{START + n} {value} {step + n}\n" for n, value in enumerate(values))


A, B, C, D, OLD, GONE, LOST = (f"{n}" * 32 for n in "abcdef9")


def store(root: Path) -> Path:
    """Seven runs of five experiments; two models."""
    digits = experiment(root, "1", "digits")
    write(digits / "tags" / "team", "vision")
    run(
        digits,
        A,
        metrics={"val/loss": lines("0.5", "nan", "-inf", "0.25"), "acc": f"{START} 0.5 3\n" * 2},
        params={"lr": "0.1", "note": "one\ntwo\n", "empty": ""},
        tags={"mlflow.runName": "run aaaa", "mlflow.note.content": "# why"},
        files={"vocab.txt": "a b c", "model/MLmodel": "flavors: {}\n", "model/data/weights": "123"},
    )
    run(digits, B, tags={"mlflow.parentRunId": A}, params={"lr": "1e-2"}, status=4)
    run(digits, GONE, status=1, end=None, more=f"deleted_time: {START + 5}\n")
    deleted = digits / GONE / "meta.yaml"
    write(deleted, deleted.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    data = "digest: abc\nname: yelp\nschema: '{}'\nsource: s3://x\nsource_type: s3\nprofile: null\n"
    write(digits / "datasets" / "d-1" / "meta.yaml", data)
    link = f"destination_id: {A}\nsource_id: d-1\nsource_type: DATASET\ntags:\n  mlflow.data.context: training\n"
    write(digits / A / "inputs" / "i-1" / "meta.yaml", link)
    logged = digits / "models" / "m-7"
    write(
        logged / "meta.yaml",
        f"creation_timestamp: {START}\nmodel_id: m-7\nname: net\nsource_run_id: {B}\nstatus: 2\nexperiment_id: '1'\n",
    )
    write(logged / "params" / "depth", "3")
    write(logged / "artifacts" / "MLmodel", "flavors: {}\n")

    run(experiment(root, "2", "digits", folder=".trash/2", stage="deleted"), C, metrics={"acc": lines("1")})
    run(experiment(root, "1", "old", folder=".trash/1"), D)
    write(
        root / "0" / OLD / "meta.yaml",
        f"end_time: {START + 9}\nexperiment_id: 0\nname: Run 0\nrun_uuid: {OLD}\nstart_time: {START}\nstatus: 3\n"
        "user_id: jules\n",
    )
    write(root / "0" / OLD / "metrics" / "loss", "1534546522 0.5\n")
    write(root / "0" / OLD / "params" / "epochs", "3\n")
    write(root / "0" / "meta.yaml", "experiment_id: 0\nname: Default\n")
    run(root / "7", LOST, metrics={"acc": lines("0.5")})

    net = root / "models" / "net"
    write(net / "meta.yaml", f"creation_timestamp: {START}\ndescription: the net\nname: net\n")
    write(net / "tags" / "task", "text")
    write(net / "aliases" / "champion", "3")
    for number, source, stage in ((1, f"file:///x/1/{A}/artifacts/model", "Production"), (3, "models:/m-7", "None")):
        write(
            net / f"version-{number}" / "meta.yaml",
            f"creation_timestamp: {START + number}\ncurrent_stage: {stage}\ndescription: v{number}\nname: net\n"
            f"last_updated_timestamp: {START + 10}\nrun_id: {A if number == 1 else B}\nsource: {source}\n"
            f"user_id: ann\nversion: {number}\n",
        )
    write(net / "version-1" / "tags" / "seen", "yes")
    return root
