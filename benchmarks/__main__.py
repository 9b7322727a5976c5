"""Run every benchmark and write `benchmarks/results.json`.

Each module beside this one has a `main()` that prints what it does and returns a list of `Measurement`s. Absolute
numbers depend on the machine; the ratio is what to read.

    python -m benchmarks [NAME ...]
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import benchmarks


def run(names: list[str]) -> list[dict[str, object]]:
    """Run the named benchmarks, or all, each in order of its name."""
    modules = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    found = sorted(name for name in modules if not name.startswith("_"))
    unknown = sorted(set(names) - set(found))
    if unknown:
        sys.exit(f"error: no benchmark named {', '.join(unknown)}; there are: {', '.join(found)}")
    results: list[dict[str, object]] = []
    for name in names or found:
        print(f"== {name}", flush=True)
        results += importlib.import_module(f"benchmarks.{name}").main()
    return results


def merge(path: Path, fresh: list[dict[str, object]]) -> list[dict[str, object]]:
    """Fresh results, and the old ones of what was not run this time, by name."""
    old = json.loads(path.read_text()) if path.is_file() else []
    by_name = {str(result["name"]): result for result in [*old, *fresh]}
    return [by_name[name] for name in sorted(by_name)]


def main() -> None:
    """Run, print a table, and write the file."""
    path = Path(__file__).with_name("results.json")
    fresh = run(sys.argv[1:])
    path.write_text(json.dumps(merge(path, fresh), indent=2) + "\n")
    for result in fresh:
        ours, theirs, ratio = (f"{result[key]:.4g}" for key in ("ours", "theirs", "ratio"))
        print(f"{result['name']:<44} ours {ours} {result['unit']}, {result['theirs_is']} {theirs}: {ratio}x")


if __name__ == "__main__":
    main()
