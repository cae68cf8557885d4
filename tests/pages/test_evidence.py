"""The programs that say what the suite is worth say it rightly: power, false alarms, and what kills each mutant."""

import math

import pytest
import torch
from pydantic import TypeAdapter

from benchmarks.pages.false_alarms import closeness, closest, failing, page
from benchmarks.pages.incidents_table import read_incidents
from benchmarks.pages.mutants import digest, survivors
from benchmarks.pages.mutants import failing as not_holding
from benchmarks.pages.power import Sampled, caught, needed, passes, sampled
from benchmarks.pages.spoilt import SPOILT
from ioi_fixtures.planted import CONTROL, MUTANTS
from ioi_fixtures.pytest_fixtures.outline import KILLS
from ioi_fixtures.pytest_fixtures.shares import NOT_JUDGED
from lib.judging.baselines import read_session
from lib.judging.measurements import Mutant
from lib.judging.references import Band
from lib.judging.statistics import mean_over_prompts, share
from lib.judging.verdicts import of_any_subject
from tests.support.example_session import all_hold, claim, figure
from tests.support.places import BASELINE

MEAN = Sampled("t", "mean", 1.0, 2.0, Band(above=0.5), is_share=False, of_prompts=True, n=100)
SHARE = Sampled("t", "share", 1.0, 0.0, Band(above=0.9), is_share=True, of_prompts=True, n=100)


def test_a_mean_is_conclusive_at_the_textbooks_number_of_prompts():
    """((z at 97.5% + z at 80%) x spread / room)^2, and with two looks z at 98.75%."""
    assert needed(MEAN, 1) == math.ceil(((1.959964 + 0.841621) * 2.0 / 0.5) ** 2)
    assert needed(MEAN, 2) == math.ceil(((2.241403 + 0.841621) * 2.0 / 0.5) ** 2)


def test_a_share_of_all_is_conclusive_where_its_exact_interval_is():
    """All of n give a lower end of 0.025^(1/n), which is above 0.9 from n = 36 on."""
    assert needed(SHARE, 1) == 36


@pytest.mark.parametrize(("n", "inside"), [(25, 0.0), (100, 1.0)])
def test_a_share_of_shares_that_are_all_alike_is_conclusive_where_gaffkes_bounds_are(n, inside):
    """Shares of .11, and at most .2: of 25 the interval reaches to .24, and of 100 to .15."""
    alike = Sampled("t", "alike", 0.11, 0.0, Band(below=0.2), False, of_prompts=True, n=n, is_of_shares=True)
    assert passes(alike, n, 1) == inside == (share(torch.full((n,), 0.11, dtype=torch.float64)).high < 0.2)


def test_what_lies_at_the_end_of_its_band_is_never_conclusive():
    assert needed(MEAN._replace(value=0.5), 1) == math.inf


@pytest.mark.parametrize("of", [MEAN._replace(spread=1.0), MEAN._replace(band=Band(above=-5, below=2.0))], ids=str)
def test_a_change_that_is_caught_passes_in_one_sample_of_five(of):
    change = caught(of, 100, 2)
    assert passes(of, 100, 2, moved=change) == pytest.approx(0.2, abs=1e-6)
    assert (change < 0) == (of.band.below is None)  # towards the nearest end


def test_the_chance_is_the_one_that_real_samples_have():
    """Bootstrap intervals of 150 samples of 60 prompts: the share that lies in the band."""
    generator = torch.Generator().manual_seed(0)
    samples = MEAN.value + MEAN.spread * torch.randn(150, 60, dtype=torch.float64, generator=generator)
    inside = sum(mean_over_prompts(sample).low > MEAN.band.low for sample in samples) / len(samples)
    assert inside == pytest.approx(passes(MEAN, 60, 1), abs=0.1)
    assert 0.3 < inside < 0.7  # else it would say little


def test_a_figures_prompts_are_taken_from_all_runs_together():
    one, other = (session_with([1.0, 2.0, 3.0]), session_with([5.0]))
    [of] = [found for found in sampled([one, other]) if found.label == "mean"]
    assert of.value == 2.0  # a run of one prompt samples nothing
    [of] = [found for found in sampled([one, session_with([5.0, 9.0])]) if found.label == "mean"]
    assert of.value == 4.0


def session_with(per_prompt):
    """A session with one sampled figure."""
    mean = sum(per_prompt) / len(per_prompt)
    one = figure("copying", "planted", "mean", mean, mean - 1, mean + 1).model_copy(update={"per_prompt": per_prompt})
    return all_hold().model_copy(update={"claims": [claim("t.py::test_mean", "planted", "It is.", "passed", one)]})


def test_closeness_counts_half_widths_to_the_nearest_end_of_the_band():
    assert closeness(figure("difference", "planted", "d", 3.5, 3.4, 3.6), 9) == pytest.approx(2.0)  # 3.3 to 3.8
    assert closeness(figure("difference", "planted", "d", 3.2, 3.1, 3.3), 9) == pytest.approx(-1.0)


def test_a_figure_without_an_interval_is_close_by_its_spread_over_runs():
    assert closeness(figure("difference", "planted", "d", 3.5, 3.5, 3.5), 0.1) == pytest.approx(2.0)
    assert closeness(figure("difference", "planted", "d", 3.5, 3.5, 3.5), 0.0) == math.inf
    assert closeness(figure("difference", "planted", "d", 3.2, 3.2, 3.2), 0.0) == -math.inf
    exact = [figure("difference", "planted", "d", value, value, value, n=1) for value in (3.45, 3.55)]
    claims = [claim("t.py::test_d", "planted", "It is.", "passed", one) for one in exact]
    sessions = [all_hold().model_copy(update={"claims": [one]}) for one in claims]
    [row] = closest({"weights": dict(enumerate(sessions))})
    assert row.startswith("| difference | d | 1.50 | weights, seed 0 |")


def test_the_page_of_false_alarms_names_what_failed_and_what_passed_on_nothing():
    good = all_hold()
    bad = [one.model_copy(update={"outcome": "failed"}) if "copies" in one.test else one for one in good.claims]
    bad = good.model_copy(update={"claims": bad})
    assert failing(good) == []
    text = page({"prompts": {0: good, 7: bad}, "weights": {1: good}}, {0: bad, 1: good})
    assert "| prompts | 2 | 1 | copies (seed 7) |" in text
    assert "| weights | 1 | 0 | none |" in text
    assert "passed at least once: copies; difference." in text
    assert "passed at least once: difference." in page({"prompts": {0: good}}, {0: bad})


def test_a_mutant_survives_where_no_claim_of_its_family_fails():
    killed = Mutant(name="a", says="", family="test_x.py", kills=["claims/test_x.py::test_it"])
    elsewhere = killed.model_copy(update={"name": "b", "kills": ["claims/test_y.py::test_it"]})
    control = killed.model_copy(update={"name": CONTROL, "family": "", "kills": []})
    assert survivors([killed, elsewhere, control]) == ["b"]
    assert survivors([control.model_copy(update={"kills": ["claims/test_x.py::test_it"]})]) == [CONTROL]


def test_a_claim_that_was_not_judged_has_not_failed():
    one = claim("t.py::test_mean", "planted", "It is.", "failed", reason="it fails")
    share = claim("t.py::test_share", "planted", "It is.", "failed", reason=f"0.01; {NOT_JUDGED}")
    assert not_holding(all_hold().model_copy(update={"claims": [one, share]})) == ["t.py::test_mean"]


@pytest.fixture(scope="module")
def kept():
    """The record of `make mutants`."""
    return TypeAdapter(list[Mutant]).validate_json(KILLS.read_bytes())


def test_every_mutant_has_been_seen_to_fail_claims_of_its_family(kept):
    """Of those there are now, as they are now."""
    known = {name: (one.says, one.family, digest(name)) for name, one in {**MUTANTS, **SPOILT}.items()}
    assert {one.name: (one.says, one.family, one.digest) for one in kept} == known
    assert survivors(kept) == []


def test_every_claim_has_been_seen_to_fail(kept):
    """On a mutant, where something else was spoilt, or, by the name of its test, where an incident was recreated."""
    failed = {claim for one in kept for claim in one.kills}
    caught = {name for incident in read_incidents() for name in incident.caught_by}
    claims = map(of_any_subject, read_session(BASELINE).claims)
    functions = {claim: claim.partition("::test_")[2].partition("[")[0] for claim in claims}
    assert [claim for claim, function in functions.items() if claim not in failed and function not in caught] == []
