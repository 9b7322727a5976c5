"""Where a model comes from: code and libraries."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trimtab

LIBRARIES = ("torch", "numpy", "pandas", "scikit-learn", "lightgbm", "optuna")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that take part in a model; `absent` where one is not installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def code_version() -> str:
    """The package's version and a digest of the code that makes models, which a version alone does not pin."""
    digest = hashlib.sha256()
    root = Path(trimtab.__file__).parent
    for folder in ("models", "sessions"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{trimtab.__version__}+{digest.hexdigest()[:12]}"
