"""Mutants are found where they are, chosen evenly, and counted as killed only where tests failed."""

import re
import signal
import subprocess

import pytest
from mutmut.configuration import config

from benchmarks.pages import evidence, mutation
from benchmarks.pages.mutation_page import KINDS, Mutant, Reason, Reasons, Tried, page, read_reasons, score, stale
from benchmarks.pages.nearby import nearest

SOURCE = '''"""A file."""

LIMIT = 3


def larger(a, b, limit=LIMIT):
    """Not changed."""
    if a > limit:
        return max(
            a,
            b,
        )
    return b


class Box:
    @classmethod
    def of(cls, side):
        return cls(side + 1)
'''


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(mutation.ROOT)  # where mutmut reads its settings


def mutant(line=8, was="if a > limit:", becomes="if a >= limit:"):
    return Mutant("lib.x.x_larger__mutmut_1", "lib/x.py", "larger", line, 1, was, becomes)


def test_a_mutant_is_named_by_the_lines_it_changes():
    mutants, lines = mutation.mutants_of("lib/x.py", SOURCE), SOURCE.splitlines()
    for one in mutants:
        found = lines[one.line - 1 : one.line - 1 + one.n_lines]
        assert one.was == " ".join(line.strip() for line in found)
    changes = {(one.function, one.line, one.was, one.becomes) for one in mutants}
    assert ("larger", 8, "if a > limit:", "if a >= limit:") in changes
    assert ("larger", 10, "a,", "None,") in changes
    assert ("larger", 10, "a,", "") in changes  # left out
    assert ("of", 19, "return cls(side + 1)", "return cls(side - 1)") in changes
    assert {one.name.rpartition("__")[0] for one in mutants} == {"lib.x.x_larger", "lib.x.xǁBoxǁof"}
    assert [one.line for one in mutants] == sorted(one.line for one in mutants)


def test_a_sample_is_spread_evenly_and_is_the_same_every_time():
    every = [mutant(line=line) for line in range(1000)]
    chosen = mutation.spread(every, 100)
    assert [one.line // 10 for one in chosen] == list(range(100))
    assert chosen == mutation.spread(every, 100)
    assert mutation.spread(every[:7], 7) == mutation.spread(every[:7], 40) == every[:7]
    assert mutation.spread([], 3) == []


DIFF = """diff --git a/lib/x.py b/lib/x.py
--- a/lib/x.py
+++ b/lib/x.py
@@ -8 +8 @@ def larger
-    if a < limit:
+    if a > limit:
@@ -20,2 +20,0 @@ class Box
-gone
-gone
@@ -30,0 +29,3 @@
+++ a
+b
+c
diff --git a/lib/y.py b/lib/y.py
--- a/lib/y.py
+++ b/lib/y.py
@@ -1 +1 @@
-a
+b
"""


def test_changed_lines_are_those_that_stand_there_now():
    assert mutation.changed_lines(DIFF) == {"lib/x.py": {8, 29, 30, 31}, "lib/y.py": {1}}
    assert mutation.changed_lines("") == {}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(["killed", "timeout"], 1), (["killed", "survived"], 0.5), (["no tests", "segfault", "suspicious", "skipped"], 0)],
)
def test_only_tests_that_fail_or_hang_kill(statuses, expected):
    assert score([Tried(mutant(), status) for status in statuses]) == expected


REASONS = Reasons(
    (
        Reason(
            at="lib/x.py::larger",
            kind="equivalent",
            why="They never meet.",
            changes=(("if a > limit:", "if a >= limit:"),),
        ),
    )
)


def test_a_reason_belongs_to_one_change_wherever_it_now_stands():
    assert REASONS.of(mutant(line=80)) == REASONS.all[0]
    assert REASONS.of(mutant(becomes="if a < limit:")) is None
    assert REASONS.of(mutant()._replace(function="smaller")) is None
    assert stale(REASONS, [mutant()]) == []
    assert stale(REASONS, [mutant(becomes="if a < limit:")]) == ["lib/x.py::larger: `if a > limit:` → `if a >= limit:`"]


def test_the_page_counts_and_lists_survivors_with_their_reasons_and_without():
    other = mutant(line=13, was="return b", becomes="return None")
    tried = [Tried(mutant(), "survived"), Tried(other, "no tests"), *[Tried(mutant(line=11), "killed")] * 8]
    every = [one.mutant for one in tried]
    whole = page(every, tried, REASONS)
    assert "Tried: all 10 there are." in whole
    assert "**Killed: 80.0%.**" in whole
    assert "| lib/x.py | 10 | 10 | 8 | 80.0% |" in whole
    assert "## Survivors: 2, of which 1 have no reason yet" in whole
    assert "- They never meet.\n  - x.py:8 `larger`: `if a > limit:` → `if a >= limit:`\n" in whole
    assert whole.endswith("### No reason yet: 1\n\n- x.py:13 `larger`: `return b` → `return None` (no tests)\n")
    sampled = page([*every, *every], tried, REASONS)
    assert "Tried: 10, spread evenly over the code, of the 20 there are" in sampled
    assert "**Killed: 80.0% [49.0%, 94.3%].**" in sampled  # Wilson's interval of 8 of 10


def test_every_kept_reason_is_of_a_known_kind():
    assert {reason.kind for reason in read_reasons().all} <= set(KINDS)


def trying(monkeypatch, status, reasons=REASONS):
    """--changed where line 8 of a file changed, and every mutant comes out as `status`; none is tried without one."""
    monkeypatch.setattr(mutation, "FILES", ["lib/x.py"])
    monkeypatch.setattr(mutation, "last_measured", lambda: "0123456789")
    monkeypatch.setattr(mutation, "_git", lambda *arguments: DIFF)
    monkeypatch.setattr(mutation, "mutants_of", lambda path, source: [mutant(), mutant(line=13, was="return b")])
    monkeypatch.setattr(mutation, "try_out", lambda some, **_: [Tried(one, status) for one in some if status])
    monkeypatch.setattr(mutation, "read_reasons", lambda: reasons)
    monkeypatch.setattr(mutation.Path, "read_text", lambda *_, **__: SOURCE)
    return mutation.measure_changed(10, 1)


@pytest.mark.parametrize(
    ("status", "reasons", "enough"),
    [("killed", Reasons(()), True), ("survived", Reasons(()), False), ("survived", REASONS, True)],
)
def test_changed_lines_alone_are_tried_and_survivors_need_a_reason(monkeypatch, capsys, status, reasons, enough):
    assert trying(monkeypatch, status, reasons) == enough
    said = capsys.readouterr().out
    assert "1 mutants on lines changed since 012345678" in said
    assert ("survived: lib/x.py:8 in larger" in said) == (not enough)


def test_no_time_for_any_mutant_is_no_success(monkeypatch, capsys):
    assert not trying(monkeypatch, "")
    assert "time was up: 0 of 1 were tried" in capsys.readouterr().out


class Mutmut:
    """In mutmut's place: a process that ends with a status, or does not end until it is told to."""

    pid = 7

    def __init__(self, status):
        self.status = status

    def wait(self, seconds=None):
        if self.status is None and seconds is not None:
            raise subprocess.TimeoutExpired("mutmut", seconds)
        return self.status

    def poll(self):
        return self.status


@pytest.mark.parametrize(("status", "ended"), [(0, []), (None, [(7, signal.SIGTERM)])])
def test_mutmut_is_stopped_when_time_is_up_and_what_it_found_is_kept(monkeypatch, status, ended):
    found, killed = iter([[], [Tried(mutant(), "killed")]]), []
    monkeypatch.setattr(mutation, "_forget_other_sources", lambda: None)
    monkeypatch.setattr(mutation, "verdicts", lambda mutants: next(found))
    monkeypatch.setattr(mutation.subprocess, "Popen", lambda command, **_: Mutmut(status))
    monkeypatch.setattr(mutation.os, "killpg", lambda *group: killed.append(group))
    assert mutation.try_out([mutant()], seconds=1) == [Tried(mutant(), "killed")]
    assert killed == ended


@pytest.mark.parametrize(("nearby", "kept"), [(True, False), (True, True), (False, False)])
def test_the_nearest_tests_alone_are_run_where_that_is_asked_and_no_verdict_would_be_lost(
    nearby, kept, monkeypatch, tmp_path
):
    started = []
    monkeypatch.setattr(mutation, "VERDICTS", tmp_path)
    if kept:
        (tmp_path / "x.py.meta").touch()
    monkeypatch.setattr(mutation, "_forget_other_sources", lambda: None)
    monkeypatch.setattr(mutation, "verdicts", lambda mutants: [])
    monkeypatch.setattr(mutation.subprocess, "Popen", lambda command, **_: started.append(command) or Mutmut(0))
    mutation.try_out([mutant()], nearby=nearby)
    [command] = started
    assert command[-2:] == ["run", mutant().name]
    assert ("benchmarks.pages.nearby" in command) == (nearby and not kept)
    assert ("lib/x.py" in command) == (nearby and not kept)


def test_the_nearest_a_file_are_called_like_it_or_import_it(tmp_path):
    texts = {
        "test_copying.py": "",
        "test_one.py": "from lib.instruments.copying import copy_hits\n",
        "test_two.py": "from lib.instruments import budget, copying\n",
        "test_three.py": "from lib.instruments.copying_heads import copying\n",
        "test_rest.py": "import torch\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    tests = [str(tmp_path / name) for name in texts]
    assert nearest(["lib/instruments/copying.py"], tests) == tests[:3]
    assert nearest(["lib/instruments/copying.py", "lib/instruments/rerun.py"], tests) == tests  # rerun's are unknown
    assert nearest(["lib/models/three.py"], tests) == tests[3:4]


def test_changed_mutants_that_are_left_out_are_counted(monkeypatch, capsys):
    monkeypatch.setattr(mutation, "spread", lambda some, n: [])
    assert trying(monkeypatch, "killed")
    assert "1 more were left out" in capsys.readouterr().out


def test_everything_that_its_tests_import_is_copied_beside_the_mutants():
    settings = config()
    files = [mutation.ROOT / one for one in settings.pytest_add_cli_args_test_selection if one.endswith(".py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    ours = {name for name in re.findall(r"^(?:from|import) (\w+)", text, re.M) if (mutation.ROOT / name).is_dir()}
    assert ours >= {"lib", "tests"}
    assert ours <= {"tests", *map(str, [*settings.source_paths, *settings.also_copy])}


def test_it_is_an_error_where_mutmut_fails(monkeypatch):
    monkeypatch.setattr(mutation, "_forget_other_sources", lambda: None)
    monkeypatch.setattr(mutation, "verdicts", lambda mutants: [])
    monkeypatch.setattr(mutation.subprocess, "Popen", lambda command, **_: Mutmut(1))
    with pytest.raises(SystemExit, match="mutmut could not try the mutants"):
        mutation.try_out([mutant()], seconds=1)


def test_without_history_nothing_is_tried_and_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(mutation, "_git", lambda *arguments: "")
    assert mutation.measure_changed(10, 1)
    assert "no git history says what changed" in capsys.readouterr().out


def test_a_clone_without_the_pages_commit_has_no_history(monkeypatch):
    asked = []
    monkeypatch.setattr(mutation, "_git", lambda *arguments: asked.append(arguments) or "")
    assert mutation.last_measured() is None
    made = evidence.MADE.search((evidence.FOLDER / "MUTATION.md").read_text(encoding="utf-8"))
    assert asked == [("rev-parse", "--verify", f"{made['commit']}^{{commit}}")]
    monkeypatch.setattr(mutation, "_git", lambda *arguments: "0123")
    assert mutation.last_measured() == "0123"
