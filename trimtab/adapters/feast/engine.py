"""A compute engine for Feast that hands Arrow tables to the online store instead of one message per value."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from trimtab.adapters.feast.packed import PackedOnlineStore
from trimtab.errors import BadInput

# Materialising from here on means "everything": the online view becomes exactly the latest offline rows.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class ArrowComputeEngineConfig(FeastConfigBaseModel):
    """Configuration in `feature_store.yaml`."""

    type: Literal["trimtab.adapters.feast.engine.ArrowComputeEngine"] = (
        "trimtab.adapters.feast.engine.ArrowComputeEngine"
    )


class ArrowComputeEngine(ComputeEngine):
    """Materialises into a `PackedOnlineStore`; `feast materialize` and `materialize-incremental` work as ever.

    From `BEGINNING` on, the view's content is replaced at once, but for newer pushes; from later on (incremental), rows
    are added, and one that is older than the stored one changes nothing.
    """

    def update(
        self,
        project: str,
        views_to_delete: Sequence[FeatureView],
        views_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """Nothing to prepare."""

    def teardown_infra(self, project: str, fvs: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Nothing to remove."""

    def _materialize_one(self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any) -> MaterializationJob:
        del kwargs
        name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        try:
            self._load(registry, task)
        except Exception as error:  # Feast raises the job's error
            return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.ERROR, error=error)
        return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)

    def _load(self, registry: BaseRegistry, task: MaterializationTask) -> None:
        store, view = self.online_store, task.feature_view
        if not isinstance(store, PackedOnlineStore):
            raise BadInput(
                f"the online store {type(store).__name__} takes no Arrow tables.",
                remedy="Set batch_engine to 'local', or online_store to one of trimtab.adapters.feast.",
            )
        if view.batch_source.field_mapping:
            raise BadInput(f"the source of view '{view.name}' renames columns, which this engine does not do.")
        keys = [registry.get_entity(name, task.project).join_key for name in view.entities]
        latest = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=view.batch_source,
            join_key_columns=keys,
            feature_name_columns=[feature.name for feature in view.features],
            timestamp_field=view.batch_source.timestamp_field,
            created_timestamp_column=view.batch_source.created_timestamp_column or None,
            start_date=task.start_time,
            end_date=task.end_time,
        ).to_arrow()
        if task.start_time <= BEGINNING:
            store.replace_table(self.repo_config, view, latest, until=task.end_time)
        else:
            store.merge_table(self.repo_config, view, latest)
