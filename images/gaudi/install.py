"""Installs the trainer beside the vendor's torch: `install.py FOLDER [DRIVER...]`, run by the Python that gets it.

Nothing may replace what the vendor built for its card, so the versions that are there become constraints. Everything
else comes as `requirements.lock` pins it, where the lock is for this Python; on an older one pip chooses.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

LOCKED_FROM = (3, 11)  # oldest Python that requirements.lock is for
VENDOR = ("torch", "habana", "hpu", "triton", "lightning")


def constraints(locked: Iterable[str], installed: Mapping[str, str], *, python: tuple[int, int]) -> list[str]:
    """What pip may not deviate from.

    Args:
        locked: Lines of the lock file.
        installed: Version by name of the packages of the vendor's image.
        python: Version of its Python.

    Returns:
        The vendor's packages at the vendor's versions, and the rest of the lock file where it is for this Python.
    """
    kept = [f"{name}=={version}" for name, version in sorted(installed.items()) if is_vendors(name)]
    ours = [line for line in locked if not is_vendors(line)] if python >= LOCKED_FROM else []
    return kept + ours


def is_vendors(name: str) -> bool:
    """Whether a package is the vendor's to choose."""
    return name.lower().startswith(VENDOR)


def main(arguments: Sequence[str]) -> int:
    """Install, and know that torch is the one that was there."""
    folder, drivers = Path(arguments[0]), arguments[1:]
    before = metadata.version("torch")
    python = sys.version_info[:2]
    installed = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    locked = (folder / "requirements.lock").read_text(encoding="utf-8").split()
    (folder / "constraints.txt").write_text("\n".join(constraints(locked, installed, python=python)), encoding="utf-8")
    wanted = folder / ("wanted.txt" if python >= LOCKED_FROM else "wanted-unpinned.txt")
    wheel = next((folder / "wheel").glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    subprocess.run([*pip, "-c", str(folder / "constraints.txt"), "-r", str(wanted), *drivers], check=True)
    # The package says 3.11 for the sake of everything else in it; with a few names the trainer's modules run on 3.10.
    subprocess.run([*pip, "--no-deps", "--ignore-requires-python", str(wheel)], check=True)
    if python < LOCKED_FROM:
        library = Path(sysconfig.get_path("purelib"))
        shutil.copy(folder / "python310.py", library / "trimtab_python310.py")
        (library / "trimtab_python310.pth").write_text("import trimtab_python310\n", encoding="utf-8")
    after = subprocess.run(
        [sys.executable, "-c", "from importlib import metadata; print(metadata.version('torch'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    if after != before:
        sys.stderr.write(f"error: the vendor's torch {before} was replaced by {after}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
