"""Imports point one way between the rooms, one file knows the hooking library, and no file grows long."""

import ast
import re

import pytest

from tests.support.places import ROOT

LEAVES = {"lib.files", "lib.one_line", "lib.schedules", "lib.suggestions"}
# What each room may import of ours, besides itself. Folders that stand for all their rooms have a name without a dot.
MAY_IMPORT = {
    "lib.models": LEAVES,
    "lib.instruments": LEAVES | {"lib.models"},
    "lib.judging": LEAVES,
    "lib.reports": LEAVES | {"lib.judging"},
    "lib.plugin": LEAVES | {"lib.models", "lib.instruments", "lib.judging", "lib.reports"},
    "lib.sweep": LEAVES | {"lib.models", "lib.judging", "lib.reports"},
    "ioi_fixtures.sentences": LEAVES | {"lib.models"},
    "ioi_fixtures.circuits": LEAVES | {"lib.models", "lib.instruments", "lib.judging", "ioi_fixtures.sentences"},
    "ioi_fixtures.published": set(),
    "ioi_fixtures.planted": LEAVES | {"lib.models", "ioi_fixtures.sentences", "ioi_fixtures.circuits"},
    "ioi_fixtures.trained": LEAVES
    | {"lib.models", "lib.instruments", "lib.judging"}
    | {"ioi_fixtures.sentences", "ioi_fixtures.circuits", "ioi_fixtures.planted"},
    "ioi_fixtures.smollm2": LEAVES | {"lib.models", "ioi_fixtures.planted"},
    "ioi_fixtures.search": LEAVES
    | {"lib.models", "lib.instruments", "lib.judging"}
    | {"ioi_fixtures.sentences", "ioi_fixtures.circuits", "ioi_fixtures.pytest_fixtures"},
    "ioi_fixtures.converting": LEAVES | {"lib.models", "ioi_fixtures.circuits"},
    "ioi_fixtures.sweep": LEAVES
    | {"lib.sweep"}
    | {f"ioi_fixtures.{room}" for room in ("circuits", "trained", "pytest_fixtures")},
    "ioi_fixtures.controls": LEAVES | {"lib.models"},
    "ioi_fixtures.pytest_fixtures": {"lib"}
    | {f"ioi_fixtures.{room}" for room in ("sentences", "circuits", "published", "planted", "trained", "smollm2")},
    "claims": {"lib.models", "lib.instruments", "lib.judging"}
    | {f"ioi_fixtures.{room}" for room in ("sentences", "circuits", "published", "pytest_fixtures")},
    "benchmarks": {"lib", "ioi_fixtures"},
    "__main__": set(),  # it loads the module of the command that is asked for
}
KNOWS_PYTEST = {"lib.plugin", "ioi_fixtures.pytest_fixtures", "ioi_fixtures.controls", "claims", "benchmarks"}
KNOWS_PYTEST |= {"__main__"}
PYTEST = {"pytest", "_pytest", "pytest_html", "xdist"}
# Where models are run by the hooking library, and where that library is broken to see what notices.
KNOWS = {
    "transformer_lens": {
        "lib/models/backends/hooks.py",
        *(f"ioi_fixtures/controls/{name}.py" for name in ("faults", "lifecycle_faults")),
    },
    "nnsight": {"lib/models/backends/nnsight_traces.py", "ioi_fixtures/controls/nnsight_faults.py"},
    "ray": {"lib/sweep/on_ray.py"},
}
OURS = {"lib", "ioi_fixtures", "claims", "benchmarks", "tests"}
FILES = [path for folder in ("lib", "ioi_fixtures", "claims", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
FILES = sorted([ROOT / "__main__.py", *FILES])


def named(path):
    return str(path.relative_to(ROOT))


def room_of(parts):
    """lib.models of ("lib", "models", "heads"); a module beside rooms, and a folder without rooms, stand alone."""
    return ".".join(parts[:2]) if parts[0] in ("lib", "ioi_fixtures") else parts[0]


def imported(source):
    """Every module that a source imports, what is taken from a package counted as a module of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(source, room):
    """What a source in that room imports and may not."""
    allowed = MAY_IMPORT[room] | {room}
    for name in imported(source):
        parts = name.split(".")
        if parts[0] in OURS and not {room_of(parts), parts[0]} & allowed:
            yield name
        if parts[0] in PYTEST and room not in KNOWS_PYTEST:
            yield name


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_point_one_way_between_rooms(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if ".".join(parts) not in LEAVES:
        assert list(forbidden(path.read_text(encoding="utf-8"), room_of(parts))) == []


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_what_any_room_may_read_reads_nothing_of_ours(leaf):
    path = ROOT / f"{leaf.replace('.', '/')}.py"
    assert not [name for name in imported(path.read_text(encoding="utf-8")) if name.split(".")[0] in OURS]


def test_nothing_but_leaves_stands_beside_the_rooms_of_lib():
    assert {f"lib.{path.stem}" for path in (ROOT / "lib").glob("*.py")} == LEAVES
    rooms = {room_of(path.relative_to(ROOT).parts) for path in FILES if len(path.relative_to(ROOT).parts) > 2}
    assert {room for room in rooms if "." in room} == {room for room in MAY_IMPORT if "." in room}


# For each room an import that runs upward, or sideways to what it must not know.
UPWARD = {
    "lib.models": "from lib.instruments.attribution import answer_direction",
    "lib.instruments": "from lib.judging import statistics",
    "lib.judging": "from lib.models.heads import Head",
    "lib.reports": "import lib.plugin.reporting",
    "lib.plugin": "from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS",
    "lib.sweep": "import lib.plugin.reporting",
    "ioi_fixtures.sentences": "import pytest",
    "ioi_fixtures.circuits": "from ioi_fixtures import planted",
    "ioi_fixtures.published": "from lib.judging.references import read_references",
    "ioi_fixtures.planted": "from ioi_fixtures.pytest_fixtures import subjects",
    "ioi_fixtures.trained": "from ioi_fixtures.controls import random_model",
    "ioi_fixtures.smollm2": "from ioi_fixtures.pytest_fixtures import subjects",
    "ioi_fixtures.search": "from ioi_fixtures.controls import random_model",
    "ioi_fixtures.converting": "from ioi_fixtures.pytest_fixtures import subjects",
    "ioi_fixtures.sweep": "from ioi_fixtures.controls import random_model",
    "ioi_fixtures.controls": "from lib.instruments import patching",
    "ioi_fixtures.pytest_fixtures": "from ioi_fixtures.controls.hook_loops import put",
    "claims": "from lib.plugin import pytest_plugin",
    "benchmarks": "from tests.support import rounding",
    "__main__": "from lib.judging import baselines",
}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_an_upward_import_is_seen_in_every_room(room):
    assert list(forbidden(UPWARD[room], room))
    inside = f"from {room} import something" if "." in room else f"import {room}"
    assert not list(forbidden(f"import torch\n{inside}\n", room))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_only_one_backend_knows_a_hooking_library(path):
    known = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
    assert all(named(path) in files for library, files in KNOWS.items() if library in known)


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to(ROOT / "lib")], ids=named)
def test_the_library_names_no_task_and_only_models_an_architecture(path):
    text = path.read_text(encoding="utf-8").lower()
    assert "ioi" not in text.split()
    assert "indirect object" not in text
    assert "gpt2-small" not in text
    if not path.is_relative_to(ROOT / "lib" / "models"):
        assert not re.search("gpt-?2", text)


@pytest.mark.parametrize("path", sorted((ROOT / "claims").glob("*.py")), ids=lambda path: path.name)
def test_a_claim_does_no_tensor_algebra(path):
    names = imported(path.read_text(encoding="utf-8"))
    assert not {"torch", "numpy", "einops", "scipy"} & {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted((ROOT / "claims").glob("test_*.py")), ids=lambda path: path.name)
def test_every_claim_is_a_sentence(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert (ast.get_docstring(node) or "").rstrip().endswith("."), f"{path.name}: {node.name} has no sentence"


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "tests").rglob("*.py"))], ids=named)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


# What says by itself how close is close: these are for tests/support/rounding.py alone.
BY_EYE = re.compile(r"(?<!not torch\.)allclose\(|approx\([^\n]*\b(abs|rel)=|(?<![<>]) <=? \d[\d.]*e-\d")
OF_NUMBERS = [path for room in ("models", "instruments") for path in sorted((ROOT / "tests" / room).glob("*.py"))]


@pytest.mark.parametrize("path", OF_NUMBERS, ids=named)
def test_tolerances_of_models_and_instruments_come_from_one_place(path):
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if BY_EYE.search(line)]
    assert [line for line in found if "# not rounding" not in line] == []


def test_a_tolerance_by_eye_is_seen():
    for line in ("assert torch.allclose(a, b)", "== pytest.approx(1.0, abs=1e-6)", "assert gap < 1e-5"):
        assert BY_EYE.search(line)
    for line in ("assert gap > 1e-3", "assert not torch.allclose(a, b)", "assert agree(a, b, EQUAL)"):
        assert not BY_EYE.search(line)
