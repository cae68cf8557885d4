"""The command `circuit-claims`, as somebody has it who installed the wheel: in a folder of their own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ioi_fixtures.trained import DIRECTORY
from lib.judging.measurements import Session
from tests.support.places import ROOT
from tests.support.warm_process import run_module

MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
PACKAGED = ("claims", "ioi_fixtures", "lib", "conftest.py", "__main__.py", "pyproject.toml", "reports/baselines")
CLAIM = "test_circuit_file.py::test_the_model_does_the_task"


def files_of_this_checkout():
    """Those that git keeps or would keep, as a path from the root each: no caches, no leftovers of a build."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What pip makes of a copy of this checkout, without network. Beside the sources lies what Python compiled."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in files_of_this_checkout():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    (source / "lib" / "__pycache__").mkdir()
    (source / "lib" / "__pycache__" / "files.cpython-311.pyc").touch()
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(built))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, str(source)], check=True)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder to import from, with the wheel unpacked in it."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_wheel_is_one_package_with_every_file_that_claims_need(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"circuit_claims", "circuit_claims-0.1.0.dist-info"}
    tree = {name.removeprefix("circuit_claims/") for name in names if name.startswith("circuit_claims/")}
    here = {name for name in files_of_this_checkout() if name.startswith(PACKAGED)}
    assert tree == here | {"noxfile.py"}


def test_the_command_works_in_any_folder_and_writes_nothing_beside_the_claims(installed, tmp_path):
    (tmp_path / "model").mkdir()
    for name in MODEL:
        shutil.copy(DIRECTORY / name, tmp_path / "model")
    shutil.copy(DIRECTORY / "circuit.toml", tmp_path / "mine.toml")
    (tmp_path / "conftest.py").write_text("raise AssertionError('a conftest.py of the user was loaded')")
    before = everything_in(installed)
    asked = ("--claims-model", "./model", "--claims-circuit", "mine.toml", "--claims-prompts", "24")
    kept = ("--claims-baseline", "kept.json", "--claims-update-baseline", "--junitxml", "junit.xml")
    done = circuit_claims(installed, CLAIM, *asked, *kept, folder=tmp_path)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    assert f"rootdir: {installed / 'circuit_claims'}" in done.stdout
    for written in ("reports/narrowed/claims.html", "kept.json", "junit.xml"):
        assert (tmp_path / written).is_file(), written
    session = Session.model_validate_json(
        (tmp_path / "reports" / "narrowed" / "claims.json").read_text(encoding="utf-8")
    )
    assert {claim.test.partition("[")[0] for claim in session.claims} == {f"claims/{CLAIM}"}
    assert session.selection == f"claims/{CLAIM}"
    assert everything_in(installed) == before


def test_without_a_path_all_claims_are_asked(installed, tmp_path):
    done = circuit_claims(installed, "--collect-only", "-q", "--claims-model", "planted", folder=tmp_path)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    files = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    not_of_planted = {"claims/test_circuit_file.py", "claims/test_circuit_figures.py", "claims/test_canaries.py"}
    assert files == {f"claims/{path.name}" for path in ROOT.glob("claims/test_*.py")} - not_of_planted


def test_the_help_is_of_this_command_and_nothing_is_written(installed, tmp_path):
    done = circuit_claims(installed, "--help", folder=tmp_path)
    assert done.returncode == pytest.ExitCode.OK
    for said in (
        "usage: circuit-claims",
        "circuit-claims render",
        "--claims-model [NAME=]MODEL",
        "--claims-backend bridge|",
    ):
        assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_kept_runs_are_rendered_and_compared(installed, tmp_path):
    kept = installed / "circuit_claims" / "reports" / "baselines" / "planted.json"
    shutil.copy(kept, tmp_path / "kept.json")
    assert circuit_claims(installed, "render", "kept.json", "page.html", folder=tmp_path).returncode == 0
    assert (tmp_path / "page.html").is_file()
    assert circuit_claims(installed, "compare", "kept.json", str(kept), folder=tmp_path).returncode == 0
    done = circuit_claims(installed, "compare", "kept.json", "none.json", folder=tmp_path)
    assert done.returncode == 2
    assert "circuit-claims compare: " in done.stderr


def circuit_claims(installed, *arguments, folder):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    return run_module("circuit_claims", *arguments, folder=folder, environment=environment)


def everything_in(folder: Path):
    """All there is but what Python compiled."""
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
