"""What an image installs: the requirements of some of the package's extras, read from `pyproject.toml`.

The lock file pins the versions (pip takes it as constraints), so that an image has no version list of its own.
Standard library only: it runs in a build before anything is installed.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path


def requirements(
    project: Path, extras: Sequence[str], *, without: Iterable[str] = (), unpinned: bool = False
) -> list[str]:
    """Requirements of the package and of some extras, each once.

    Args:
        project: A `pyproject.toml`.
        extras: Names of extras.
        without: Packages to leave out.
        unpinned: Leave out least versions, for a Python that newer releases no longer support; exact ones stay.

    Returns:
        Lines that pip reads.

    Raises:
        KeyError: There is no such extra.
    """
    document = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    groups = [document["dependencies"], *(document["optional-dependencies"][extra] for extra in extras)]
    left_out = {_normal(name) for name in without}
    lines = dict.fromkeys(line for group in groups for line in group)
    kept = [line for line in lines if package(line) not in left_out]
    return [re.sub(r">=[^,]*,?", "", line) for line in kept] if unpinned else kept


def package(requirement: str) -> str:
    """Name of the package that a requirement is about.

    >>> package("feast[redis]==0.67.0")
    'feast'
    """
    return _normal(re.split(r"[\[=<>!~; ]", requirement, maxsplit=1)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the requirements of the extras named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="extras of the package")
    parser.add_argument("--without", nargs="*", default=[], help="packages to leave out")
    parser.add_argument("--unpinned", action="store_true", help="leave out least versions")
    parser.add_argument("--project", type=Path, default=Path("pyproject.toml"))
    options = parser.parse_args(arguments)
    lines = requirements(options.project, options.extras, without=options.without, unpinned=options.unpinned)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
