"""Models the suite's own tests share."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ioi_fixtures import planted
from ioi_fixtures.controls.random_model import one_thread
from ioi_fixtures.pytest_fixtures.subjects import PLANTED
from lib.models.checkpoint import CannotLoad
from lib.models.model import Model, load
from tests.support.places import PARTIAL
from tests.support.rounding import reported_in
from tests.support.warm_process import warm_python

# Files with slow tests, the slowest first: with -n, a process takes one file after the other, and the last ones have to
# be short for all processes to end together.
SLOW = (
    "test_on_ray.py",
    "test_trained.py",
    "test_bad_input.py",
    "test_workers.py",
    "test_command_line.py",
    "test_sweep.py",
    "test_families_asked.py",
    "test_incidents.py",
    "test_generated_prompts.py",
    "test_right_suspect.py",
    "test_composition.py",
    "test_command.py",
    "test_instruments_at_scale.py",
    "test_planted.py",
    "test_worst_prompts.py",
    "test_mutants.py",
    "test_report_in_browser.py",
    "test_processes.py",
    "test_report_in_use.py",
    "test_looks.py",
    "test_circuit_file.py",
    "test_families.py",
    "test_search.py",
    "test_baseline_option.py",
    "test_backends.py",
    "test_benchmarks.py",
    "test_survival.py",
    "test_canaries.py",
    "test_wheel.py",
)


def pytest_sessionstart() -> None:
    """Nearly every test reads the reference model: where it cannot be kept, one line says so, and what to do."""
    try:
        PLANTED.directory()
    except CannotLoad as error:
        raise pytest.UsageError(str(error)) from error


def pytest_xdist_setupnodes() -> None:
    """One warm Python for all processes of the session, which imports while they do."""
    warm_python()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test's report says how far apart results were that rounding alone may move: see tests/support/rounding.py."""
    with reported_in(item.user_properties):
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first; the order within a file and among the others stays."""
    place = defaultdict(lambda: len(SLOW), {name: place for place, name in enumerate(SLOW)})
    items.sort(key=lambda item: place[item.path.name])


@pytest.fixture(scope="session")
def planted_model() -> Model:
    """The reference model, loaded."""
    return load(planted.directory(), name="planted", device="cpu")


@pytest.fixture(scope="session")
def random_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised model with GPT-2 small's layers and heads and the reference model's tokenizer, saved.

    A quarter as wide, for speed: claims have to fail on it as on one of full width. Narrower still, with 8 dimensions a
    head, the few eigenvalues of a random head are by chance of the sign that a claim asks for.
    """
    directory = tmp_path_factory.mktemp("random-gpt2")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(planted.directory())
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=192, n_inner=192)
    GPT2LMHeadModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def on_one_thread() -> Iterator[None]:
    """For tests of small models: see `one_thread`."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def real_gpt2_files() -> Path:
    """GPT-2 small's tokenizer, config and attention weights. They are no part of this project and never copied into it,
    so a checkout without them beside it skips what nothing else can stand in for, and says so."""
    if not PARTIAL.is_dir():
        pytest.skip(
            f"GPT-2 small's tokenizer and attention weights are not at {PARTIAL}: they are kept outside this "
            "repository, and only the real ones will do"
        )
    return PARTIAL
