"""The pytest side of the suite: options, the `record` fixture, and the reports at the end of a session.

Follows pytest-benchmark's habits: one option group, one prefix, state in the config stash, reports merged from plain
data on the controller. Which models are tested is not decided here (see the project's fixtures).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.completeness import claims_are_asked_for
from lib.files import check_writable
from lib.model import DTYPES
from lib.recorder import Recorder
from lib.references import Reference
from lib.reporting import Reporting
from lib.statistics import Estimate

pytest_plugins = ["lib.baseline_plugin", "lib.html_plugin", "lib.interruptions", "lib.progress"]
RECORDER = pytest.StashKey[Recorder]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("claims", "circuit claims")
    group.addoption(
        "--claims-model",
        action="append",
        metavar="NAME_OR_DIR",
        help="Test this model instead of the default ones: a subject's name, a directory or a hub name. Repeatable.",
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
        help="Number type of weights and activations (default float32, without TF32).",
    )
    group.addoption(
        "--claims-prompts", type=_at_least(24), default=100, metavar="N", help="Prompts per data set (default 100)."
    )
    group.addoption(
        "--claims-seed", type=_at_least(0), default=0, metavar="SEED", help="Seed of the prompts (default 0)."
    )
    group.addoption(
        "--claims-prompt-file",
        type=Path,
        metavar="FILE",
        help="Run the claims on the prompts of this JSON or JSON-lines file instead of generated ones.",
    )
    group.addoption(
        "--claims-report",
        type=Path,
        metavar="FOLDER",
        help="Where claims.html and claims.json are written (default: reports).",
    )


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
        option.claims_report = config.rootpath / "reports"
    if option.claims_report:
        _check_writable(option.claims_report)
    config.stash[RECORDER] = Recorder()
    config.pluginmanager.register(Reporting(config, config.stash[RECORDER]), "claims-reporting")


def _check_writable(folder: Path) -> None:
    try:
        check_writable(folder)
    except OSError as error:
        raise pytest.UsageError(
            f"no report can be written to {folder} ({error.strerror}): name another folder with --claims-report"
        ) from error


def pytest_report_header(config: pytest.Config) -> str:
    option = config.option
    models = ", ".join(option.claims_model or ["the default ones"])
    return (
        f"claims: models {models}; device {option.claims_device}, {option.claims_dtype}; "
        f"{option.claims_prompt_file or f'{option.claims_prompts} prompts'}, seed {option.claims_seed}"
    )


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Recorder:
    """Records what the running claim measured; returns the estimate it was given."""
    return request.config.stash[RECORDER]


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """`assert estimate in reference` fails with measured value, band and source in one sentence."""
    if op == "in" and isinstance(left, Estimate) and isinstance(right, Reference):
        return [right.explain(left)]
    return None
