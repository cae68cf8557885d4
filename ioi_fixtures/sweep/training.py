"""Three models trained alike but for their seed, kept on the way: `python -m ioi_fixtures.sweep.training`.

For each seed KEPT checkpoints at log-spaced steps, in reports/training/seedN/stepM; `sweep.toml` asks all of them.
Weights stay out of the repository: this makes them again, the same ones on the same machine with the same libraries.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from transformers import GPT2LMHeadModel

from ioi_fixtures.trained.train import STEPS, save, train
from lib.schedules import log

FOLDER = Path(__file__).parents[2] / "reports" / "training"
SEEDS = (0, 1, 2)
FIRST, KEPT = 40, 16
STEPS_KEPT = log(KEPT, first=FIRST, last=STEPS, multiple=10)


def keep(seed: int, folder: Path) -> None:
    """Train with that seed, and keep checkpoints under `folder`."""

    def after(step: int, model: GPT2LMHeadModel) -> None:
        if step in STEPS_KEPT:
            save(model, folder / f"seed{seed}" / f"step{step}")

    start = time.monotonic()
    train(steps=STEPS, seed=seed, after=after)
    print(f"seed {seed}: {time.monotonic() - start:.0f} s, kept at steps {', '.join(map(str, STEPS_KEPT))}", flush=True)


def main() -> None:
    """Trains every seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--into", type=Path, default=FOLDER, help="(default: %(default)s)")
    asked = parser.parse_args()
    for seed in asked.seeds:
        keep(seed, asked.into)


if __name__ == "__main__":
    main()
