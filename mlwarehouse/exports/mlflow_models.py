"""Registered models, brought to a server of MLflow's: numbers, stages, aliases, descriptions and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlwarehouse.entities import ModelVersion, RegisteredModel
from mlwarehouse.exports.mlflow_runs import There
from mlwarehouse.exports.sending import Sent
from mlwarehouse.imports.rest_client import FOR_NOW, Refused, RestClient

WAREHOUSE = "mlwarehouse.warehouse_id"
"""Tag of a registered model there: the warehouse that it is of."""

NOWHERE = "s3://mlwarehouse.invalid/nowhere"
"""The source of a version that has none: servers insist on one that looks like a place."""

STAGES = frozenset(("None", "Staging", "Production", "Archived"))
"""Those that MLflow has."""


class ModelSender:
    """Sends registered models."""

    def __init__(self, client: RestClient, warehouse_id: str, runs: Mapping[str, There], sent: Sent) -> None:
        """Send to a server.

        Args:
            client: The server.
            warehouse_id: The warehouse's id.
            runs: Its runs there, by their ids here.
            sent: Gets what was sent.
        """
        self._client, self._warehouse_id, self._runs, self._sent = client, warehouse_id, runs, sent

    def send(self, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
        """Send what a model lacks there.

        Raises:
            Refused: The server fails, or doesn't let us.
            StorageError: It doesn't answer.
        """
        try:
            self._send(model, sorted(versions, key=lambda v: v.version))
        except Refused as error:
            if error.status in FOR_NOW or error.status in (401, 403):
                raise
            self._sent.tell("model refused", model.name, str(error))

    def _send(self, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
        there = self._model(model)
        if there is None:
            return
        found: dict[int, Mapping[str, Any]] = {int(v["version"]): v for v in self._versions(model.name)}
        last = max(found, default=0)
        for version in versions:
            if version.version > last:
                made = self._make(version, last)
                if made is None:
                    return
                found[version.version], last = made, version.version
            self._update(version, found[version.version])
        for number in sorted(found.keys() - {v.version for v in versions}):
            self._client.post(
                "mlflow/model-versions/delete", method="DELETE", name=model.name, version=str(number), again=True
            )
        aliases = {str(a["alias"]): int(a["version"]) for a in there.get("aliases") or ()}
        for alias, number in model.aliases.items():
            if aliases.get(alias) != number:
                self._client.post(
                    "mlflow/registered-models/alias", name=model.name, alias=alias, version=str(number), again=True
                )
                self._sent.count("model_aliases")

    def _model(self, model: RegisteredModel) -> dict[str, Any] | None:
        """The model there; None where its name is another one's."""
        tags = dict(model.tags) | {WAREHOUSE: self._warehouse_id}
        try:
            there: dict[str, Any] = self._client.get("mlflow/registered-models/get", name=model.name)[
                "registered_model"
            ]
        except Refused as error:
            if error.status != 404:
                raise
            given = [{"key": key, "value": value} for key, value in tags.items()]
            made = self._client.post(
                "mlflow/registered-models/create", name=model.name, tags=given, description=model.description or ""
            )
            self._sent.count("models")
            return dict(made["registered_model"])
        known = {t["key"]: t.get("value", "") for t in there.get("tags") or ()}
        if known.get(WAREHOUSE) != self._warehouse_id:
            detail = "the server has another model of this name; it was left as it is"
            self._sent.tell("model name taken", model.name, detail)
            return None
        if (model.description or "") != (there.get("description") or ""):
            self._client.post(
                "mlflow/registered-models/update",
                method="PATCH",
                name=model.name,
                description=model.description or "",
                again=True,
            )
        for key, value in tags.items():
            if known.get(key) != value:
                self._client.post("mlflow/registered-models/set-tag", name=model.name, key=key, value=value, again=True)
        return there

    def _versions(self, name: str) -> list[dict[str, Any]]:
        condition = "name = '{}'".format(name.replace("'", "''"))
        pages = self._client.pages(
            "mlflow/model-versions/search", "model_versions", is_get=True, filter=condition, max_results=1000
        )
        return [version for page in pages for version in page if version["name"] == name]

    def _make(self, version: ModelVersion, last: int) -> Mapping[str, Any] | None:
        """Make a version, behind those whose numbers were deleted; None where the server numbers otherwise."""
        for number in range(last + 1, version.version):
            made = self._create(version.name, NOWHERE, None, None)
            self._client.post(
                "mlflow/model-versions/delete",
                method="DELETE",
                name=version.name,
                version=str(made["version"]),
                again=True,
            )
            if int(made["version"]) != number:
                self._tell_numbered_otherwise(version.name, number, made)
                return None
        run = self._runs.get(version.run_id or "")
        try:
            made = self._create(version.name, self._source(version), run, version.description)
        except Refused as error:
            if error.status != 400:
                raise
            self._sent.tell("source left out", f"models:/{version.name}/{version.version}", str(error))
            made = self._create(version.name, NOWHERE, run, version.description)
        if int(made["version"]) != version.version:
            self._client.post(
                "mlflow/model-versions/delete",
                method="DELETE",
                name=version.name,
                version=str(made["version"]),
                again=True,
            )
            self._tell_numbered_otherwise(version.name, version.version, made)
            return None
        self._sent.count("model_versions")
        return made

    def _tell_numbered_otherwise(self, name: str, number: int, made: Mapping[str, Any]) -> None:
        detail = f"the server would number it {made['version']}; it and those behind it were left out"
        self._sent.tell("model version numbered otherwise", f"models:/{name}/{number}", detail)

    def _create(self, name: str, source: str, run: There | None, description: str | None) -> Mapping[str, Any]:
        made = self._client.post(
            "mlflow/model-versions/create",
            name=name,
            source=source,
            run_id=None if run is None else run.run_id,
            description=description,
        )
        return dict(made["model_version"])

    def _source(self, version: ModelVersion) -> str:
        """Where the files are there: a version of a run's files is one of its run's there."""
        source = version.source or ""
        if source.startswith("runs:/"):
            run_id, _, path = source.removeprefix("runs:/").partition("/")
            there = self._runs.get(run_id)
            if there is not None:
                return f"{there.address.rstrip('/')}/{path}"
        return source or NOWHERE

    def _update(self, version: ModelVersion, there: Mapping[str, Any]) -> None:
        address = {"name": version.name, "version": str(version.version)}
        stage = version.current_stage
        if stage not in STAGES:
            detail = f"MLflow has no stage {stage}; the version has none there"
            self._sent.tell("stage left out", f"models:/{version.name}/{version.version}", detail)
        elif stage != (there.get("current_stage") or "None"):
            self._client.post(
                "mlflow/model-versions/transition-stage",
                **address,
                stage=stage,
                archive_existing_versions=False,
                again=True,
            )
        if (version.description or "") != (there.get("description") or ""):
            self._client.post(
                "mlflow/model-versions/update",
                method="PATCH",
                **address,
                description=version.description or "",
                again=True,
            )
        known = {t["key"]: t.get("value", "") for t in there.get("tags") or ()}
        for key, value in version.tags.items():
            if known.get(key) != value:
                self._client.post("mlflow/model-versions/set-tag", **address, key=key, value=value, again=True)
