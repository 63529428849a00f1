"""`make bench`: run one benchmark, or all. Each is a module `bench_<name>.py` here with `run() -> Measurement`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

PREFIX = "bench_"


def names() -> list[str]:
    """Every benchmark there is."""
    return sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))


def main(arguments: list[str]) -> int:
    """Run what is asked for; the last line of each is JSON. Returns the exit code."""
    unknown = [name for name in arguments if name not in names()]
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}; there are: {', '.join(names())}.", file=sys.stderr)
        return 2
    for name in arguments or names():
        module = importlib.import_module(f"tests.bench.{PREFIX}{name}")
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}", file=sys.stderr)
        measured = module.run()
        for limit in measured.broken:
            print(f"{name}: not kept: {limit}", file=sys.stderr)
        print(measured.line(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
