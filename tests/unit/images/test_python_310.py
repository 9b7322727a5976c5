"""The trainer's modules run on Python 3.10, which is what the vendor's image for first-generation Gaudi has.

The few newer names that they use are those that the image adds to its Python when it starts.
"""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

# What components/tune and components/train load of ours.
TRAINER = (
    "trimtab.runtime",
    "trimtab.adapters.run_files",
    "trimtab.adapters.files",
    "trimtab.steps.tune",
    "trimtab.steps.train",
    "trimtab.steps.results",
)
# Names of the standard library that came with Python 3.11.
NEWER = {
    "asyncio": {"Barrier", "Runner", "TaskGroup", "timeout", "timeout_at"},
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "enum": {"StrEnum", "ReprEnum", "EnumCheck", "FlagBoundary", "verify", "member", "nonmember", "global_enum"},
    "hashlib": {"file_digest"},
    "math": {"cbrt", "exp2"},
    "operator": {"call"},
    "tomllib": {"*"},
    "typing": {
        "LiteralString",
        "Never",
        "NotRequired",
        "Required",
        "Self",
        "TypeVarTuple",
        "Unpack",
        "assert_never",
        "assert_type",
        "dataclass_transform",
        "reveal_type",
    },
}
NAMES = runpy.run_path(str(Path(__file__).parents[3] / "images/gaudi/python310.py"))["NAMES"]
NEWER_BUILTINS = {"BaseExceptionGroup", "ExceptionGroup"}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Source by path of every module of ours that the trainer loads."""
    code = (
        "import sys, " + ", ".join(TRAINER) + "\n"
        "print(*sorted(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'trimtab'), sep='\\n')"
    )
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return {path: Path(path).read_text(encoding="utf-8") for path in ended.stdout.split()}


def test_the_trainers_modules_are_written_in_python_310(sources: dict[str, str]) -> None:
    assert len(sources) > 30
    for path, source in sources.items():
        ast.parse(source, filename=path, feature_version=(3, 10))


def test_the_trainers_modules_use_no_newer_name_than_the_image_adds(sources: dict[str, str]) -> None:
    added = {f"{module.__name__}.{name}" for module, names in NAMES.items() for name in names}
    assert {path: found for path, source in sources.items() if (found := newer_names(source) - added)} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from datetime import UTC, datetime", {"datetime.UTC"}),
        ("import datetime\ndatetime.UTC", {"datetime.UTC"}),
        ("import tomllib", {"tomllib"}),
        ("raise ExceptionGroup('', [])", {"ExceptionGroup"}),
        ("from datetime import datetime, timezone", set()),
    ],
)
def test_the_check_sees_a_newer_name(source: str, found: set[str]) -> None:
    assert newer_names(source) == found


def newer_names(source: str) -> set[str]:
    """Names in a module that Python 3.10 does not have."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in NEWER:
            newer = NEWER[node.module]
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in newer or "*" in newer}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if "*" in NEWER.get(alias.name, ())}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NEWER.get(node.value.id, ()):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in NEWER_BUILTINS:
            found.add(node.id)
    return found
