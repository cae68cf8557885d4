"""The pytest side of the suite: options, the `record` fixture, and the reports at the end of a session.

Follows pytest-benchmark's habits: one option group, one prefix, state in the config stash, reports merged from plain
data on the controller. Which models are tested is not decided here (see the project's fixtures).
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from lib.files import check_writable
from lib.judging.recorder import Recorder
from lib.judging.references import Reference
from lib.judging.statistics import Estimate
from lib.models.backends import BACKENDS, default_backend
from lib.models.budget import memory_size, within
from lib.models.model import DTYPES
from lib.plugin.completeness import claims_are_asked_for, report_folder
from lib.plugin.reporting import Reporting

pytest_plugins = [
    "lib.plugin.baseline_plugin",
    "lib.plugin.html_plugin",
    "lib.plugin.interruptions",
    "lib.plugin.looks",
    "lib.plugin.progress",
    "lib.plugin.workers",
]
FEWEST = 24  # prompts: two of each of a dozen templates
EXAMPLES = 4  # drawn for each claim about generated examples
RECORDER = pytest.StashKey[Recorder]()
PROCESSES = pytest.StashKey[int]()  # how many compute on this one's device, itself included; one where it is not set


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("claims", "circuit claims")
    group.addoption(
        "--claims-model",
        action="append",
        metavar="[NAME=]MODEL",
        help="Test this model instead of the default ones: a subject's name, a directory or a hub name; NAME= in front "
        "of it is what reports call it. Repeatable.",
    )
    group.addoption(
        "--claims-device",
        default="auto",
        metavar="DEVICE",
        help="auto (a GPU where there is one), cpu, cuda or cuda:N.",
    )
    group.addoption(
        "--claims-dtype",
        default="float32",
        choices=list(DTYPES),
        help="Number type that weights are kept in (default float32, without TF32). With those in bfloat16 and float16 "
        "everything is computed in float32, except a hooking library's own passes.",
    )
    group.addoption(
        "--claims-backend",
        default=default_backend(),
        choices=list(BACKENDS),
        help="What runs the model: TransformerLens' bridge or hooked (HookedTransformer), nnsight, or plain (no such "
        "library). Default: bridge, or hooked where the installed version has no bridge.",
    )
    group.addoption(
        "--claims-memory",
        type=_size,
        metavar="SIZE",
        help="What an instrument may take at once, such as 512MiB or 2GB (default: half of the memory that is free).",
    )
    group.addoption(
        "--claims-prompts",
        type=_at_least(FEWEST),
        default=100,
        metavar="N",
        help="Prompts per data set at the most, also of a larger file, from which they are then drawn (default 100): "
        "claims are asked on a quarter of those that are generated first.",
    )
    group.addoption(
        "--claims-one-look",
        action="store_true",
        help="Ask every claim on all prompts at once, also where fewer would do.",
    )
    group.addoption(
        "--claims-seed", type=_at_least(0), default=0, metavar="SEED", help="Seed of the prompts (default 0)."
    )
    group.addoption(
        "--claims-bos",
        choices=["auto", "yes", "no"],
        default="auto",
        help="Whether prompts begin with the tokenizer's start token (default auto: what the circuit file says, or "
        "else what the tokenizer does by itself).",
    )
    group.addoption(
        "--claims-prompt-file",
        type=Path,
        metavar="FILE",
        help="Run the claims on the prompts of this file (JSON, JSON lines or CSV) instead of generated ones.",
    )
    group.addoption(
        "--claims-report",
        type=Path,
        metavar="FOLDER",
        help="Where claims.html and claims.json are written (default: reports, or reports/narrowed where -k, -m or "
        "the name of a file or test leaves claims out).",
    )


def _size(text: str) -> int:
    try:
        return memory_size(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error  # of a plain ValueError argparse would drop the words


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(text)
        return int(text)

    whole_number.__name__ = f"whole number of at least {least}"  # argparse puts this into its message
    return whole_number


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.claims_report is None and claims_are_asked_for(config):
        option.claims_report = report_folder(config, config.rootpath)
    if option.claims_report:
        require_writable(option.claims_report, option="--claims-report")
    _draw_few_examples(config)
    config.stash[RECORDER] = Recorder()
    config.pluginmanager.register(Reporting(config, config.stash[RECORDER]), "claims-reporting")


def require_writable(folder: Path, *, option: str) -> None:
    """A usage error where no report can be made in the folder that `option` names."""
    try:
        check_writable(folder)
    except OSError as error:
        raise pytest.UsageError(
            f"no report can be written to {folder} ({error.strerror}): name another folder with {option}"
        ) from error


def _draw_few_examples(config: pytest.Config) -> None:
    """Register how Hypothesis draws here: "claims", used unless --hypothesis-profile says otherwise, and "thorough".

    The same examples in every run, or --hypothesis-seed would be needed to see a failure again; and few, each shown
    one fault at a time and never varied to explain it, since an example costs a forward pass.
    """
    seeded = config.getoption("--hypothesis-seed", None) is not None
    phases = [phase for phase in Phase if phase is not Phase.explain]
    # The parent is named: without it, a CI machine's own default would leak in.
    settings.register_profile(
        "claims",
        parent=settings.get_profile("default"),
        derandomize=not seeded,
        deadline=None,
        max_examples=EXAMPLES,
        phases=phases,
        report_multiple_bugs=False,
    )
    thorough = {"derandomize": False, "max_examples": 20 * EXAMPLES}
    settings.register_profile("thorough", parent=settings.get_profile("claims"), **thorough)
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("claims")


def pytest_report_header(config: pytest.Config) -> str:
    option = config.option
    models = ", ".join(option.claims_model or ["the default ones"])
    return (
        f"claims: models {models}; device {option.claims_device}, {option.claims_dtype}, "
        f"backend {option.claims_backend}; "
        f"{option.claims_prompt_file or f'{option.claims_prompts} prompts'}, seed {option.claims_seed}"
    )


@pytest.fixture(scope="session", autouse=True)
def memory_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Holds every instrument of the session to --claims-memory."""
    with within(request.config.option.claims_memory, processes=request.config.stash.get(PROCESSES, 1)):
        yield


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Recorder:
    """Records what the running claim measured; returns the estimate it was given."""
    return request.config.stash[RECORDER]


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """`assert estimate in reference` fails with measured value, band and source in one sentence."""
    if op == "in" and isinstance(left, Estimate) and isinstance(right, Reference):
        return [right.explain(left, available=config.stash[RECORDER].available)]
    return None
