"""What `feast apply` reads: the objects of the dataset that `TRIMTAB_DATASET` names, over its newest history.

Trimtab itself does not import this module; its adapter applies `feature_repo.definitions` directly.
"""

import os
from pathlib import Path

from feature_repo.definitions import define, model_service
from trimtab.errors import NotFound
from trimtab.sessions.spec import load_spec


def _folder() -> Path:
    """Where the features step keeps a dataset's spec and history."""
    folder = Path(os.environ.get("TRIMTAB_HOME", ".trimtab")) / "features" / os.environ.get("TRIMTAB_DATASET", "")
    if not (folder / "spec.yaml").is_file():
        raise NotFound(
            f"{folder} holds no dataset.",
            remedy="Set TRIMTAB_HOME and TRIMTAB_DATASET to where `trimtab run` left one.",
        )
    return folder.absolute()


def _newest_history(folder: Path) -> Path:
    return max(folder.glob("history-*.parquet"), key=lambda path: path.stat().st_mtime)


_FOLDER = _folder()
_SPEC = load_spec(str(_FOLDER / "spec.yaml"))
_DEFINITIONS = define(_SPEC, str(_newest_history(_FOLDER)))

entity = _DEFINITIONS.entity
push_source = _DEFINITIONS.push_source
unit_view = _DEFINITIONS.unit_view
kpi_view = _DEFINITIONS.kpi_view
recency_view = _DEFINITIONS.recency_view
service = model_service(_DEFINITIONS, _SPEC)
