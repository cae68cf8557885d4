"""Every figure that has a value for each prompt names its worst one, and no figure that is of something else does."""

import html
import json

import pytest

from ioi_fixtures.sentences.prompts import make_prompts
from ioi_fixtures.sentences.variants import abc
from lib.judging.measurements import measurement
from lib.judging.statistics import Estimate
from lib.reports import html_report
from tests.support.example_session import REFERENCES, SCRIPT, all_hold, claim
from tests.whole_suite.test_command_line import claims

CLAIMS = "behaviour or first_mlp_reads_the_token or average_head_does_not_copy or (previous and random_tokens)"
PROMPTS = make_prompts(48, seed=0)
IOI = [prompt.text for prompt in PROMPTS]
ABC = [prompt.text for prompt in abc(PROMPTS, seed=0)]


def figure(low, high, per_prompt, reference="difference"):
    value = (low + high) / 2
    estimate = Estimate(value, low, high, len(per_prompt), "studentized bootstrap over prompts", tuple(per_prompt))
    return measurement("test", "planted", "label", estimate, REFERENCES[reference])


@pytest.mark.parametrize(
    ("low", "high", "per_prompt", "worst"),
    [
        (3.4, 3.5, (3.5, 1.0, 7.0, 2.0), 1),  # of 3.3 to 3.8
        (3.6, 3.7, (3.5, 1.0, 7.0, 2.0), 2),
        (4.0, 4.5, (3.5, 1.0, 7.0, 2.0), 2),
        (3.4, 3.5, (1.0, 1.0, 7.0), 0),
        (3.4, 3.4, (3.4, 3.4, 3.4), None),
        (3.4, 3.4, (), None),
    ],
)
def test_the_worst_is_furthest_beyond_the_nearer_end(low, high, per_prompt, worst):
    assert figure(low, high, per_prompt).worst == worst


def test_a_band_with_one_end_is_left_there():
    assert figure(0.95, 0.99, (1.0, 0.0, 1.0), "copying").worst == 1  # above 0.9
    assert figure(0.05, 0.15, (0.0, 1.0, 0.0), "control").worst == 1  # below 0.2


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    done = claims("-k", CLAIMS, "--claims-one-look", "--claims-prompts", str(len(PROMPTS)), report=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    session = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    return {figure["label"]: figure for claim in session["claims"] for figure in claim["measurements"]}


@pytest.mark.parametrize(
    ("label", "texts"),
    [
        ("logit difference", IOI),
        ("logit difference on ABC", ABC),
        ("accuracy on ABC", ABC),
        ("recovery, mlp_out 0 at S2", IOI[:16]),
    ],
)
def test_a_figure_names_the_prompt_of_its_most_extreme_value(label, texts, figures):
    values = figures[label]["per_prompt"]
    assert len(values) == len(texts)
    assert values[texts.index(figures[label]["worst_prompt"])] in (min(values), max(values))


def test_where_all_prompts_say_the_same_none_is_the_worst(figures):
    assert set(figures["accuracy"]["per_prompt"]) == {1.0}
    assert figures["accuracy"]["worst_prompt"] == ""


@pytest.mark.parametrize("label", ["mean copy score over heads", "previous-token score, other heads"])
def test_a_figure_of_names_or_random_tokens_has_no_worst_prompt(label, figures):
    assert len(set(figures[label]["per_prompt"])) > 1
    assert figures[label]["worst_prompt"] == ""


def test_the_page_shows_it_as_text_with_its_value():
    shown = figure(3.4, 3.5, (3.5, 1.25, 7.0)).model_copy(update={"worst_prompt": SCRIPT})
    session = all_hold().model_copy(
        update={"claims": [claim("test_toy.py::test_it", "second", "It.", "passed", shown)]}
    )
    assert f"<q>{html.escape(SCRIPT, quote=False)}</q>: 1.25</dd>".replace("'", "&#39;") in html_report.page(session)
