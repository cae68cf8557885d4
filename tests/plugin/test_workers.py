"""`pytest -n K`: what workers measure arrives in one report, which is the one that a single process writes."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ioi_fixtures.pytest_fixtures import fixtures
from ioi_fixtures.trained import DIRECTORY as TRAINED
from lib.judging.measurements import Session
from lib.plugin.workers import device_of, groups, without_group
from tests.support.places import ROOT
from tests.support.warm_process import run_module

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
from lib.judging.measurements import Subject
from lib.plugin.item_records import subject_name
from lib.plugin.reporting import NOT_MEASURED

pytest_plugins = ["lib.plugin.pytest_plugin"]

def pytest_addoption(parser):
    parser.addoption("--wrong")

def pytest_generate_tests(metafunc):
    if "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", ["toy", "spare"], scope="session", indirect=True)

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    config.stash[NOT_MEASURED] = ["spare: not measured"]
    items[:] = [item for item in items if subject_name(item) == "toy"]
    if config.option.wrong == "subject":
        raise pytest.UsageError("toy cannot be tested: it broke")

@pytest.fixture(scope="session")
def subject(request):
    if request.config.option.wrong == "prompts":
        pytest.exit("toy cannot be read: it tore", returncode=4)
    return request.param

@pytest.fixture(autouse=True)
def described(subject, record, request):
    number = request.config.workerinput["number"] if hasattr(request.config, "workerinput") else 0
    record.describe(Subject(
        name=subject, directory="", weights_hash="", shape="", device=f"toy:{number}", dtype="", prompts=0, seed=0,
        prepend_bos=False, prompts_hash="", processing="",
    ))
"""
FIRST = '''
import time, torch
from lib.models.budget import in_batches

def test_slow(subject, record):
    """It takes its time."""
    record.head_map("slow map", "units", torch.eye(2))
    time.sleep(2)

def test_large(subject, record):
    """It does not fit."""
    def measure(prompts):
        if len(prompts) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return prompts
    assert in_batches(measure, torch.arange(9), rows=1, row_bytes=1, budget=None).tolist() == list(range(9))
'''
SECOND = '''
import torch

def test_quick(subject, record):
    """It takes no time."""
    record.head_map("quick map", "units", torch.eye(2))
'''
FAILS = '''
def test_fails(subject):
    """It fails."""
    assert False
'''
CRASHES = '''
import os

def test_crashes(subject):
    """It takes its process down."""
    os._exit(3)

def test_after_the_crash(subject):
    """It is not reached."""
'''


def project(folder, **claims):
    """Write a toy project with these claim files."""
    (folder / "claims").mkdir()
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, text in claims.items():
        (folder / "claims" / f"test_{name}.py").write_text(text, encoding="utf-8")


def run(folder, *arguments):
    """`pytest claims/ -n 2` there: everything it said, and its exit status."""
    command = ["pytest", "claims/", "-p", "no:cacheprovider", "-n", "2", "--claims-report", "reports", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = run_module(*command, folder=folder, environment=environment)
    return done.stdout + done.stderr, done.returncode


def report(folder):
    return Session.model_validate_json((folder / "reports" / "claims.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """The report of a run over two workers, one of which a claim takes down."""
    folder = tmp_path_factory.mktemp("toy")
    project(folder, first=FIRST, second=SECOND, unlucky=CRASHES)
    said, status = run(folder, "--claims-memory", "8B")
    assert status == pytest.ExitCode.TESTS_FAILED, said
    return report(folder)


def names(records):
    return [record.test.split("::")[1].removesuffix("[toy]") for record in records]


def test_workers_measure_what_one_process_measures(tmp_path):
    sessions = []
    for workers in ("0", "2"):
        command = ["pytest", "-p", "no:cacheprovider", "-n", workers, "--claims-prompts", "24"]
        command += ["claims/test_behaviour.py", "claims/test_circuit_file.py"]
        command += ["--claims-model", str(TRAINED), "--claims-circuit", str(TRAINED / "circuit.toml")]
        command += ["--claims-device", "cpu", "--claims-backend", "plain"]
        command += ["--claims-report", str(tmp_path / workers)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums of other lengths are rounded otherwise
        done = run_module(*command, folder=ROOT, environment=environment)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert (tmp_path / workers / "claims.html").is_file()
        session = json.loads((tmp_path / workers / "claims.json").read_text(encoding="utf-8"))
        assert len(session["claims"]) >= 40
        for key in ("started", "seconds", "command"):
            session[key] = ""
        for claim in session["claims"]:
            claim["seconds"] = 0
        sessions.append(json.dumps(session))
    assert sessions[0] == sessions[1]


def test_everything_arrives_in_the_order_of_collection(spread):
    assert names(spread.claims) == ["test_slow", "test_large", "test_quick", "test_crashes"]
    assert names(spread.drawings) == ["test_slow", "test_quick"]
    assert spread.not_measured == ["spare: not measured"]
    assert spread.notes == ["out of GPU memory: going on with 4 prompts at once"]
    assert "@" not in spread.model_dump_json()


def test_a_subject_is_described_once_with_every_device_it_was_on(spread):
    [subject] = spread.subjects
    assert subject.device == "toy:0, toy:1"


def test_a_claim_that_takes_its_worker_down_ends_the_run_and_is_in_the_report(spread):
    assert [claim.outcome for claim in spread.claims] == ["passed"] * 3 + ["error"]
    assert "crashed while running" in spread.claims[3].reason
    assert spread.ended == "a worker crashed while running claims/test_unlucky.py::test_crashes[toy]"


def test_one_process_holds_to_the_memory_limit_and_notes_a_halved_batch_too(pytester):
    project(pytester.path, first=FIRST)
    pytester.runpytest("claims", "--claims-memory", "5B")
    assert report(pytester.path).notes == ["out of GPU memory: going on with 2 prompts at once"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("subject", "ERROR: toy cannot be tested: it broke"), ("prompts", "toy cannot be read: it tore")],
)
def test_a_usage_error_in_a_worker_is_one_line(wrong, says, tmp_path):
    project(tmp_path, first=FIRST, second=SECOND)
    said, status = run(tmp_path, "--wrong", wrong)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert said.count(says) == 1
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert not (tmp_path / "reports" / "claims.json").exists()


def test_claims_that_are_known_to_fail_are_excused_with_workers_too(tmp_path):
    project(tmp_path, first=FAILS, second=SECOND)
    asked = ("--claims-baseline", "kept.json")
    said, status = run(tmp_path, *asked, "--claims-update-baseline")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "kept in kept.json: 0 figures of toy; in what was kept 1 of 2 claims hold, 1 fails" in said
    said, status = run(tmp_path, *asked, "--claims-known-failures")
    assert status == pytest.ExitCode.OK
    assert said.count("1 of 2 claims hold, 1 fails, as in the baseline; nothing drifted") == 1
    (tmp_path / "claims" / "test_third.py").write_text(FAILS, encoding="utf-8")
    said, status = run(tmp_path, *asked, "--claims-known-failures")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "1 claim is not known to fail: claims/test_third.py::test_fails[toy]\n" in said


def test_gpus_are_given_out_in_turn_unless_one_was_asked_for():
    assert [device_of(worker, asked="auto", gpus=2) for worker in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_of(3, asked="cuda", gpus=2) == "cuda:1"
    assert device_of(1, asked="cuda:0", gpus=2) == "cuda:0"
    assert device_of(1, asked="cpu", gpus=2) == "cpu"
    assert device_of(1, asked="auto", gpus=0) == "auto"
    assert device_of(1, asked="cuda", gpus=0) == "cuda"  # which the collection refuses, as without -n


def stand_ins(*places):
    """Stand-ins for collected tests: each "file subject", or "file" for a test of no subject."""
    items = []
    for place in places:
        file, _, subject = place.partition(" ")
        call = SimpleNamespace(params={"subject": subject} if subject else {})
        items.append(SimpleNamespace(path=Path(file), callspec=call, stash=pytest.Stash()))
    return items


def test_a_worker_takes_a_subject_or_where_there_are_more_workers_a_file_of_it():
    items = stand_ins("a one", "a one", "b one", "a two", "b two")
    assert groups(items, workers=2) == [0, 0, 0, 1, 1]
    assert groups(items, workers=3) == [0, 0, 1, 2, 3]
    assert groups(stand_ins("a", "a", "b", "a one", "b one"), workers=1) == [0, 0, 1, 2, 2]


def test_the_probe_prompt_runs_before_what_is_next_in_this_process_if_it_is_of_another_file_or_subject():
    test, sibling, of_other_subject, of_other_file = stand_ins("a one", "a one", "a two", "b one")
    for following, last in ((sibling, False), (of_other_subject, True), (of_other_file, True), (None, True)):
        fixtures.pytest_runtest_protocol(test, following)
        assert fixtures.is_last_of_file(test) is last


def test_a_test_is_called_what_it_is_called_without_workers():
    assert without_group("claims/test_a.py::test_b[toy-9.9]@12") == "claims/test_a.py::test_b[toy-9.9]"
    for name in ("claims/test_a.py::test_b[x@3]", "claims/test_a.py::test_b", "claims/test_a.py"):
        assert without_group(name) == name
