"""The pytest side of the suite: options, the `record` fixture, and the reports at the end of a session.

Follows pytest-benchmark's habits: one option group, one prefix, state in the config stash, reports merged from plain
data on the controller. Which models are tested is not decided here (see the project's fixtures).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from lib.html_plugin import HtmlReport
from lib.model import DTYPES
from lib.recorder import Recorder
from lib.references import Reference
from lib.reporting import Reporting
from lib.statistics import Estimate

CLAIMS_FOLDER = "claims"
EXAMPLES = 4  # drawn for each claim about generated examples
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
    if option.claims_report is None and _claims_are_asked_for(config):
        option.claims_report = config.rootpath / "reports"
    if option.claims_report and not option.htmlpath:
        option.htmlpath = str(option.claims_report / "claims.html")
    option.self_contained_html = True  # one file that can be sent to somebody
    _draw_few_examples(config)
    config.stash[RECORDER] = Recorder()
    reporting = Reporting(config, config.stash[RECORDER])
    config.pluginmanager.register(reporting, "claims-reporting")
    if option.htmlpath and not hasattr(config, "workerinput"):
        config.pluginmanager.register(HtmlReport(reporting), "claims-html")


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


def _claims_are_asked_for(config: pytest.Config) -> bool:
    folder = config.rootpath / CLAIMS_FOLDER
    asked = [Path(config.invocation_params.dir, argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path == folder or folder in path.parents or path in folder.parents for path in asked)


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
