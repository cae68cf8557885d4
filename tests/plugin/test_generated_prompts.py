"""Claims about generated prompts: one figure however many examples, and a failure ends as one readable sentence."""

import json

import pytest
from hypothesis import settings

from ioi_fixtures import planted
from lib.judging.measurements import Session
from tests.support.example_session import figure
from tests.whole_suite.test_command_line import claims

pytest_plugins = ["pytester"]

LOST = ("9.6 looks at IO", "7.3 looks at S2", "5.5 looks at S1+1")  # the first head of each broken class

CONFTEST = """
import pytest
from lib.judging.references import Reference

pytest_plugins = ["lib.plugin.pytest_plugin"]

@pytest.fixture(scope="session", params=["toy"])
def subject(request):
    return request.param

@pytest.fixture(scope="session")
def right(subject):
    return Reference(
        id="toy/right", says="always right", source="Toy 2020, §1", how="by hand", accept={"above": 1.0}, why="because"
    )
"""
# Wrong on prompts with a name that begins with J; names are in alphabetical order, so a J is nowhere near the first.
FAULT = '''
from hypothesis import given
from ioi_fixtures.sentences.strategies import batches_of_prompts
from lib.judging.statistics import exact

@given(prompts=batches_of_prompts(max_size=4))
def test_everybody_is_served(prompts, right, record):
    """Everybody is served."""
    wrong = [prompt for prompt in prompts if "J" in prompt.io[0] + prompt.s1[0]]
    example = (wrong or prompts)[0].text
    served = record("served", exact(0.0 if wrong else 1.0), right, worst_prompt=example)
    assert served in right
'''
MINIMAL = "While Aaron and Jack were waiting at the airport, Jack handed a bag to"
# Values as a search might meet them; the figure to be kept, in the report and nowhere a second one.
SEQUENCE = '''
import pytest
from lib.judging.statistics import exact

@pytest.mark.parametrize("values", {values})
def test_values(values, right, record):
    """They are right."""
    for value in values:
        record("value", exact(value), right, worst_prompt=f"example {{value}}")
    record("another", exact(1.0), right)
    assert exact(values[-1]) in right
'''


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs one file of toy claims: its claims as recorded, and what pytest said."""

    def run(text, *arguments):
        pytester.makeconftest(CONFTEST)
        pytester.mkdir("claims")
        (pytester.path / "claims" / "test_toy.py").write_text(text, encoding="utf-8")
        result = pytester.runpytest("claims", *arguments)
        written = (pytester.path / "reports" / "claims.json").read_text(encoding="utf-8")
        return Session.model_validate_json(written).claims, result

    # The runs share this process with the tests: what they set in Hypothesis is set back.
    monkeypatch.setattr("hypothesis.core.global_force_seed", None)
    profile = settings.get_current_profile_name()
    yield run
    settings.load_profile(profile)


@pytest.mark.parametrize("arguments", [(), ("--hypothesis-profile", "thorough", "--hypothesis-seed", "0")])
def test_a_fault_is_shrunk_to_one_sentence_and_recorded_once(run, arguments):
    [failed], result = run(FAULT, *arguments)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*prompts=(Prompt('{MINIMAL}'),),"])
    assert MINIMAL in failed.reason
    assert "accepted: at least 1; published: 'always right'" in failed.reason
    [figure] = failed.measurements
    assert (figure.value, figure.verdict, figure.worst_prompt) == (0.0, "fail", MINIMAL)


@pytest.mark.parametrize(
    ("values", "kept"),
    [((3.0, 2.0, 4.0), 2.0), ((2.0, 0.5, 3.0), 0.5), ((0.1, 3.0, 0.9), 0.9), ((0.9, 0.1), 0.1)],
    ids=["all hold: the nearest to the edge", "one fails", "two fail: the last", "the last of two again"],
)
def test_of_many_examples_one_figure_is_kept(run, values, kept):
    [one], _ = run(SEQUENCE.format(values=[values]))
    figures = {figure.label: figure for figure in one.measurements}
    assert len(one.measurements) == len(figures) == 2
    assert (figures["value"].value, figures["value"].worst_prompt) == (kept, f"example {kept}")


def test_the_room_of_a_figure_is_its_distance_from_the_nearer_end_of_the_band():
    assert figure("difference", "planted", "inside", 3.5, 3.4, 3.6).room == pytest.approx(0.1)  # 3.3 to 3.8
    assert figure("difference", "planted", "across", 3.7, 3.5, 3.9).room == pytest.approx(-0.1)
    assert figure("control", "planted", "one end", 0.1, 0.05, 0.15).room == pytest.approx(0.05)  # at most 0.2


def test_a_model_that_answers_by_chance_fails_on_a_prompt_one_can_read(tmp_path):
    arguments = ["--claims-model", str(planted.directory(broken="nm_ignore_inhibition"))]
    claims(*arguments, "--claims-prompts", "24", "-k", "test_the_worst_prompt", report=tmp_path)
    [failed] = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))["claims"]
    assert failed["outcome"] == "failed"
    [figure] = failed["measurements"]
    sentence = figure["worst_prompt"].partition(" (logit difference -")[0]
    assert f"prompts=(Prompt('{sentence}'),)" in failed["reason"]
    assert len(failed["reason"]) < 1500  # models and runs are one line each


def test_a_class_that_lost_its_place_fails_where_the_people_are_renamed(tmp_path):
    broken = ("nm96_moved_to_95", "sinh_attends_s1", "ind_off")
    arguments = [part for name in broken for part in ("--claims-model", str(planted.directory(broken=name)))]
    claims(*arguments, "--claims-prompts", "24", "-k", "look_at_their_place", report=tmp_path)
    session = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    figures = [figure for claim in session["claims"] for figure in claim["measurements"]]
    wrong = [figure["label"] for figure in figures if figure["verdict"] != "pass"]
    assert wrong == [f"share of prompts on which {looks}" for looks in LOST]
