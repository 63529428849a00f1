"""Lower end of the uplift's 95 % interval after `manage.py rehearse --posts 256`, the worst of three seeds; above 0.

Each seed must also keep its limits: near-duplicates at most 2 %, memorised posts at most 1 %, ten minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys

from kilroy_site.config import BASE_DIR
from tests.bench.measurement import Measurement

SEEDS = (1, 2, 3)
LIMITS = {"duplicate_rate": 0.02, "memorised_rate": 0.01, "seconds": 600.0}
SMALLEST = 1e-9  # "above 0" as a number


def run() -> Measurement:
    """The worst of three seeds. Each report goes to the standard error."""
    lows, broken = [], []
    for seed in SEEDS:
        command = [sys.executable, "manage.py", "rehearse", "--posts", "256", "--seed", str(seed), "--json"]
        done = subprocess.run(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True, check=True)
        report = json.loads(done.stdout.splitlines()[-1])
        print(json.dumps({"seed": seed, **report}), file=sys.stderr)
        lows.append(float(report["uplift_low"]))
        broken += [f"seed {seed}: {name} is {report[name]}" for name, limit in LIMITS.items() if report[name] > limit]
    return Measurement(ours=min(lows), goal=SMALLEST, better="higher", broken=tuple(broken))
