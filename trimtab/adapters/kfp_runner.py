"""Runs one compiled pipeline with `kfp.local`, in a process of its own.

`kfp.local` keeps its configuration in globals, prints to standard output and leaves its tasks running when it is
killed. A process of its own keeps the first two from the caller; for the third, it watches its parent and takes its
whole process group along when the parent is gone.
"""

import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

REQUEST = "request.json"
RESULT = "result.json"
_POLL_SECONDS = 0.5


def run(folder: Path) -> dict[str, Any]:
    """Run the pipeline that `request.json` in the folder asks for.

    Returns:
        `{"state": "SUCCEEDED", "outputs": {...}}`, or `{"state": "FAILED", "error": "..."}`.
    """
    request = json.loads((folder / REQUEST).read_text())
    warnings.simplefilter("ignore")  # settings that only a cluster honours, and the like
    from kfp import components, local

    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "artifacts"),
        workspace_root=str(folder / "workspace"),
    )
    pipeline = components.load_component_from_file(request["pipeline"])
    try:
        outputs = pipeline(**request["arguments"]).outputs
    except RuntimeError as error:
        return {"state": "FAILED", "error": str(error)}
    return {"state": "SUCCEEDED", "outputs": outputs}


def _follow_parent(parent: int) -> None:
    """End this process group as soon as the parent is gone."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(folder: str, parent: str) -> None:
    """Run the request in `folder`, no longer than `parent` lives; in the background where `parent` is 0."""
    if int(parent):
        threading.Thread(target=_follow_parent, args=(int(parent),), daemon=True).start()
    elif os.fork():
        os._exit(0)  # whoever started the run has no child to wait for
    result = run(Path(folder))
    part = Path(folder) / f"{RESULT}.part"
    part.write_text(json.dumps(result))
    part.replace(Path(folder) / RESULT)


if __name__ == "__main__":
    main(*sys.argv[1:])
