"""Are the instruments tested? One small fault at a time is put into the measuring code, and the tests have to fail.

`python -m benchmarks.pages.mutation` tries every such mutant, or with --sample N some that are spread evenly over the
code, and writes docs/evidence/MUTATION.md. With --changed it tries those on lines that changed since that page was
written, for CI, within the time given. mutmut makes the mutants and runs, for each, the tests that call its function;
pyproject.toml says which files and tests. Its verdicts are kept in mutants/ as long as neither code nor tests change,
so a run that was stopped goes on where it was. These are mutants of code; docs/evidence/MUTANTS.md is about those of
the reference model.
Out of scope, since mutmut leaves them alone: properties, other decorated functions, and module constants.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

from benchmarks.pages import evidence
from benchmarks.pages.evidence import ROOT
from benchmarks.pages.mutation_page import NAME, Mutant, Tried, page, read_reasons, score, stale

VERDICTS = ROOT / "mutants"  # mutmut's own folder
FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "lib" / "instruments").glob("*.py"))
FILES += ["lib/judging/measurements.py", "lib/models/forward.py"]
ENOUGH = 0.85  # of the mutants killed
SAMPLE_OF_CHANGED = 40
SEED = 1


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of the source."""
    mutated = mutate_file_contents(path, source)
    lines, spans = mutated.code.splitlines(keepends=True), mutated.line_span_by_function_name
    return sorted(
        (_mutant(path, source, lines, spans, name) for name in mutated.mutant_names), key=lambda mutant: mutant.line
    )


def _mutant(path: str, source: str, lines: list[str], spans: Mapping, name: str) -> Mutant:
    """What a mutant changes: mutmut keeps a copy of each function as it was, and one for each mutant of it."""
    function = name.partition("__mutmut_")[0]
    shown = re.split("ǁ|^x_", function)[-1]
    original = f"{function}__mutmut_orig"
    old, new = (
        [line.replace(f"def {copy}(", f"def {shown}(") for line in lines[spans[copy].start - 1 : spans[copy].end]]
        for copy in (original, name)
    )
    first = _in_common(old, new)
    after = _in_common(old[first:][::-1], new[first:][::-1])
    was, becomes = (" ".join(line.strip() for line in some[first : len(some) - after]) for some in (old, new))
    line = source.count("\n", 0, source.index("".join(old))) + 1 + first
    n_lines = len(old) - first - after
    return Mutant(get_mutant_name(Path(path), name), path, shown, line, n_lines, was, becomes)


def _in_common(old: list[str], new: list[str]) -> int:
    """How many lines are the same at the start of both."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def spread(mutants: Sequence[Mutant], n: int) -> list[Mutant]:
    """`n` of them, evenly spaced from a drawn start, so that each stretch of code has its share; or all there are."""
    if n >= len(mutants):
        return list(mutants)
    step = len(mutants) / n
    start = random.Random(SEED).random() * step
    return [mutants[int(start + i * step)] for i in range(n)]


def last_measured() -> str | None:
    """The commit at which the page was made, or None where git does not have it."""
    made = evidence.MADE.search((evidence.FOLDER / NAME).read_text(encoding="utf-8"))
    return _git("rev-parse", "--verify", f"{made['commit']}^{{commit}}") or None if made else None


def changed_lines(diff: str) -> dict[str, set[int]]:
    """For each file of a `git diff --unified=0`, the lines that are new in it."""
    changed: dict[str, set[int]] = {}
    path = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ ").removeprefix("b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            start, count = int(hunk[1]), int(hunk[2] or 1)
            changed.setdefault(path, set()).update(range(start, start + count))
    return changed


def _git(*arguments: str) -> str:
    """What git prints, or nothing where it fails or is not there."""
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def verdicts(mutants: Iterable[Mutant]) -> list[Tried]:
    """Those that have been tried on the code and tests as they are, with what came out."""
    tried, codes = [], {}
    for mutant in mutants:
        if mutant.path not in codes:
            kept = SourceFileMutationData(path=mutant.path)
            kept.load()
            codes[mutant.path] = kept.exit_code_by_key
        if codes[mutant.path].get(mutant.name) is not None:
            tried.append(Tried(mutant, status_by_exit_code[codes[mutant.path][mutant.name]]))
    return tried


def try_out(
    mutants: Sequence[Mutant],
    *,
    seconds: float | None = None,
    processes: int | None = None,
    nearby: bool = False,
) -> list[Tried]:
    """Runs the tests of each mutant that has no verdict yet, for as long as `seconds` allow. Returns all verdicts.

    nearby: where no verdict is kept yet, with the tests nearest to the mutants' files alone (see nearby.py).

    Exits where mutmut fails, as it does where tests fail without any mutant: nothing would be known, and look like it.
    """
    _forget_other_sources()
    known = {tried.mutant for tried in verdicts(mutants)}
    names = [mutant.name for mutant in mutants if mutant not in known]
    if names:
        at_once = ["--max-children", str(processes)] if processes else []
        command = [str(Path(sys.executable).with_name("mutmut"))]
        if nearby and not any(VERDICTS.rglob("*.meta")):
            paths = sorted({mutant.path for mutant in mutants})
            command = [sys.executable, "-m", "benchmarks.pages.nearby", *paths, "--"]
        command += ["run", *at_once, *names]
        # One thread each: small matrices, and as many processes as there are cores.
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=settings, start_new_session=True)
        try:
            if process.wait(seconds):
                raise SystemExit("mutmut could not try the mutants: see what it says above")
        except subprocess.TimeoutExpired:
            pass  # what has been tried is kept
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # and what it runs
                process.wait()
    return verdicts(mutants)


def _forget_other_sources() -> None:
    """Verdicts hold for the code and the tests they were reached with."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for folder in ("lib", "ioi_fixtures", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    note = VERDICTS / "sources"
    if not note.is_file() or note.read_text() != digest.hexdigest():
        shutil.rmtree(VERDICTS, ignore_errors=True)
        VERDICTS.mkdir()
        note.write_text(digest.hexdigest())


def measure(sample: int | None, processes: int | None) -> bool:
    """Tries all mutants, or a sample of them, and writes the page. Returns whether enough were killed."""
    every = [mutant for path in FILES for mutant in mutants_of(path, (ROOT / path).read_text(encoding="utf-8"))]
    chosen = spread(every, sample) if sample else every
    tried, reasons = try_out(chosen, processes=processes), read_reasons()
    if len(tried) < len(chosen):
        raise SystemExit(f"{len(chosen) - len(tried)} mutants have no verdict: see mutmut's words above")
    if unknown := stale(reasons, every):
        raise SystemExit("docs/survivors.toml gives reasons for mutants that do not exist:\n" + "\n".join(unknown))
    evidence.write(NAME, page(every, tried, reasons), command="make mutation", of="other things")
    print(f"{score(tried):.1%} of {len(tried)} mutants killed")
    return score(tried) >= ENOUGH


def measure_changed(seconds: float, processes: int | None) -> bool:
    """Tries mutants on lines changed since the page was written. Returns whether enough of those that time allowed are
    killed or explained; where there was time for none, that is not enough."""
    commit = last_measured()
    if commit is None:
        print("mutation: no git history says what changed since docs/evidence/MUTATION.md was made; nothing is tried")
        return True
    changed = changed_lines(_git("diff", "--unified=0", "--no-ext-diff", "--find-renames", commit, "--", "lib"))
    affected = [
        mutant
        for path, lines in changed.items()
        if path in FILES
        for mutant in mutants_of(path, (ROOT / path).read_text(encoding="utf-8"))
        if lines.intersection(range(mutant.line, mutant.line + mutant.n_lines))
    ]
    print(f"mutation: {len(affected)} mutants on lines changed since {commit[:9]}")
    chosen, reasons = spread(affected, SAMPLE_OF_CHANGED), read_reasons()
    tried = try_out(chosen, seconds=seconds, processes=processes, nearby=True)
    print()  # mutmut's last line has no end
    explained = [one for one in tried if one.killed or reasons.of(one.mutant)]
    for one in tried:
        if one not in explained:
            print(f"  {one.status}: {one.mutant}")
    if len(tried) < len(chosen):
        print(f"  time was up: {len(tried)} of {len(chosen)} were tried (--seconds gives more)")
    if len(chosen) < len(affected):
        print(f"  {len(affected) - len(chosen)} more were left out, evenly over the code (make mutation tries all)")
    print(f"  killed or explained in docs/survivors.toml: {len(explained)} of {len(tried)}")
    return len(explained) >= ENOUGH * len(tried) and bool(tried or not chosen)


def main() -> None:
    """Measures what the options ask for, and exits with 1 where too few mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="try so many mutants, spread over the code")
    parser.add_argument("--changed", action="store_true", help="try those on lines changed since the page was written")
    parser.add_argument("--seconds", type=float, default=600, help="what --changed may take (default 600)")
    parser.add_argument("--processes", type=int, help="how many at once (default: one for each core)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it runs ends with it
    os.chdir(ROOT)  # mutmut reads its settings from here
    if given.changed:
        enough = measure_changed(given.seconds, given.processes)
    else:
        enough = measure(given.sample, given.processes)
    if not enough:
        raise SystemExit(f"fewer than {ENOUGH:.0%}: write the missing tests, or the reason in docs/survivors.toml")


if __name__ == "__main__":
    main()
