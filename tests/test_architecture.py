"""Imports point one way, one file knows the hooking library, and no file grows long."""

import ast

import pytest

from tests.support.places import ROOT

ALLOWED = {
    "lib": {"lib"},
    "ioi_fixtures": {"lib", "ioi_fixtures"},
    "claims": {"lib", "ioi_fixtures"},
}
FILES = [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]
OURS = {"lib", "ioi_fixtures", "claims", "tests", "benchmarks"}


def modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_from_claims_to_fixtures_to_lib(path):
    folder = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in modules(path)} & OURS
    assert ours <= ALLOWED[folder]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_backend_knows_the_hooking_library(path):
    if path != ROOT / "lib" / "models" / "backends" / "hooks.py":
        assert not any(name.split(".")[0] == "transformer_lens" for name in modules(path))


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.is_relative_to(ROOT / "lib")], ids=lambda path: path.name
)
def test_the_library_names_no_task_model_or_head(path):
    text = path.read_text(encoding="utf-8").lower()
    assert "ioi" not in text.split()
    assert "indirect object" not in text
    assert "gpt2-small" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "claims").glob("*.py")), ids=lambda path: path.name)
def test_a_claim_does_no_tensor_algebra(path):
    assert not {"torch", "numpy", "einops", "scipy"} & {name.split(".")[0] for name in modules(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "claims").glob("test_*.py")), ids=lambda path: path.name)
def test_every_claim_is_a_sentence(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert (ast.get_docstring(node) or "").rstrip().endswith("."), f"{path.name}: {node.name} has no sentence"


@pytest.mark.parametrize(
    "path",
    [path for path in ROOT.rglob("*.py") if not {".venv", ".nox", "mutants"} & set(path.parts)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
