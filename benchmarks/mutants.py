"""Which claims does each broken copy of the reference model fail? `make mutants` prints it and writes docs/MUTANTS.md.

A claim that no mutant fails may be one that cannot fail; a mutant that fails no claim is a mechanism nobody checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from ioi_fixtures import planted

ROOT = Path(__file__).parents[1]
PROMPTS = 48  # two per template and order


def failures(directory: Path) -> tuple[dict[str, str], float]:
    """Claims that do not hold on a model, with their outcome, and its logit difference."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "claims/", "-q", "--claims-model", str(directory)]
        command += ["--claims-prompts", str(PROMPTS), "--claims-report", folder, "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"the claims could not be run on {directory}:\n{done.stdout}{done.stderr}")
        session = json.loads((Path(folder) / "claims.json").read_text(encoding="utf-8"))
    figures = [figure for claim in session["claims"] for figure in claim["measurements"]]
    [difference] = [figure["value"] for figure in figures if figure["label"] == "logit difference"]
    failed = {_name(claim["test"]): claim["outcome"] for claim in session["claims"] if claim["outcome"] != "passed"}
    return failed, difference


def _name(test: str) -> str:
    """A test's id without file and subject: every_name_mover_copies[9.9]."""
    function, _, parameters = test.partition("::")[2].partition("[")
    rest = parameters.removesuffix("]").partition("-")[2]
    return function.removeprefix("test_") + (f"[{rest}]" if rest else "")


def main() -> None:
    """Runs the claims on the intact model and on every mutant."""
    base, difference = failures(planted.directory())
    lines = [f"| (intact) | {difference:.2f} | {len(base)} | {', '.join(base) or 'none'} |"]
    print(lines[0], flush=True)
    for name, broken in planted.MUTANTS.items():
        failed, difference = failures(planted.directory(broken=name))
        new = [claim for claim in failed if claim not in base]
        lines.append(f"| **{name}**: {broken} | {difference:.2f} | {len(new)} | {', '.join(new) or 'none'} |")
        print(lines[-1], flush=True)
    text = (
        f"# Broken copies of the reference model, and the claims they fail\n\nWritten by `make mutants` on "
        f"{date.today()}; {PROMPTS} prompts. Claims that fail, or are inconclusive, on the intact model at this N "
        "are in its row and are not counted in the others.\n\n"
        "| broken | logit difference | claims that flip | which |\n|---|---|---|---|\n"
    )
    (ROOT / "docs" / "MUTANTS.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
