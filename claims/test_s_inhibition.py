"""§3.2 and App. A: S-inhibition heads attend from END to S2 and turn the name movers away from the subject.

What they carry is two signals: which token the subject is, and, stronger, where it stood.
"""

import pytest

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS, NAME_MOVERS, S_INHIBITION
from ioi_fixtures.circuits.signals import CELL_VARIANTS, fit_error, signal_coefficient
from ioi_fixtures.pytest_fixtures.drawings import attention_by_position, differences_by_signal, pattern_of
from lib.instruments.attention import attention
from lib.judging.statistics import mean_over_prompts, ratio_of_means, strongest
from lib.models.heads import select, without

every_s_inhibition_head = pytest.mark.parametrize("head", S_INHIBITION, ids=str)
CELLS = [cell for cell in CELL_VARIANTS if cell != ("original", "original")]


def test_s_inhibition_heads_attend_to_s2(ioi, ioi_run, published, record):
    """From END, the S-inhibition heads attend to the subject's second mention."""
    claim = published["s-inhibition/attention-to-s2"]
    to_s2 = attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["S2"])
    mean = record("attention END to S2", mean_over_prompts(select(to_s2, S_INHIBITION).mean(0)), claim)
    assert mean in claim


@every_s_inhibition_head
def test_every_s_inhibition_head_prefers_s2(head, model, ioi, ioi_run, published, record):
    """From END, S-inhibition head {head} attends to S2 more than to the indirect object and S1."""
    claim = published["s-inhibition/prefers-s2"]
    to_s2, to_io, to_s1 = (
        attention(ioi_run, query=ioi.positions["END"], key=ioi.positions[name])[head] for name in ("S2", "IO", "S1")
    )
    record.show(pattern_of(head, model, ioi, ioi_run))
    preference = record(f"attention of {head} to S2 over IO and S1", mean_over_prompts(to_s2 - to_io - to_s1), claim)
    assert preference in claim


def test_an_average_head_does_not_attend_to_s2(ioi, ioi_run, published, record):
    """Control: from END, the average head outside the circuit attends little to S2."""
    claim = published["any-head/attention-to-s2"]
    to_s2 = attention(ioi_run, query=ioi.positions["END"], key=ioi.positions["S2"])
    mean = record("attention END to S2, other heads", mean_over_prompts(without(to_s2, CIRCUIT_HEADS).mean(0)), claim)
    assert mean in claim


@every_s_inhibition_head
def test_every_s_inhibition_head_acts_through_name_mover_queries(
    head, paths_to_name_mover_queries, whole, published, record
):
    """With the path from {head} to the name movers' queries patched from ABC, the logit difference falls."""
    claim = published["paths/s-inhibition-to-name-mover-queries"]
    effect = whole.share(paths_to_name_mover_queries[head] - whole.difference)
    effect = record(f"path {head} to name movers' queries", effect, claim)
    assert effect in claim


def test_no_other_head_acts_through_name_mover_queries_as_much(paths_to_name_mover_queries, whole, published, record):
    """Control: of all heads outside the circuit, even the strongest moves the name movers' queries little."""
    claim = published["paths/other-heads-to-name-mover-queries"]
    effects = paths_to_name_mover_queries - whole.difference
    record.head_map("Paths to the name movers' queries", "logit difference", effects.mean(-1))
    effects = without(effects, CIRCUIT_HEADS)
    most = effects[strongest(effects.mean(-1))]
    effect = record("strongest other path to name movers' queries", whole.share(most), claim)
    assert effect in claim


def test_without_s_inhibition_name_movers_look_away_from_the_indirect_object(
    without_s_inhibition, ioi, ioi_run, published, record
):
    """With the S-inhibition heads at their ABC means, the name movers attend less to the indirect object."""
    claim = published["s-inhibition/name-mover-attention"]
    before, after = (
        select(attention(run, query=ioi.positions["END"], key=ioi.positions["IO"]), NAME_MOVERS).mean(0)
        for run in (ioi_run, without_s_inhibition)
    )
    record.show(attention_by_position("name movers", NAME_MOVERS, ioi, ioi_run))
    record.show(attention_by_position("name movers without S-inhibition", NAME_MOVERS, ioi, without_s_inhibition))
    left = record("name movers' attention to IO, without / with", ratio_of_means(after, before), claim)
    assert left in claim


@pytest.mark.parametrize(("token", "position"), CELLS)
def test_the_signals_move_the_logit_difference(token, position, s_inhibition_signals, published, record):
    """With S-inhibition outputs from prompts with {token} token and {position} position, the logit difference is about
    what is published."""
    claim = published[f"s-inhibition/{token}-token-{position}-position"]
    difference = mean_over_prompts(s_inhibition_signals[token, position])
    difference = record(f"logit difference, {token} token, {position} position", difference, claim)
    assert difference in claim


@pytest.mark.parametrize("signal", ["position", "token"])
def test_the_two_signals_add_up(signal, s_inhibition_signals, published, record):
    """Fitted as linear in both signals, the logit difference has about the published {signal} coefficient."""
    claim = published[f"s-inhibition/{signal}-coefficient"]
    record.show(differences_by_signal(s_inhibition_signals))
    coefficient = mean_over_prompts(signal_coefficient(s_inhibition_signals, signal))
    coefficient = record(f"coefficient of the {signal} signal", coefficient, claim)
    assert coefficient in claim


def test_hardly_anything_is_left_beyond_the_two_signals(s_inhibition_signals, whole, published, record):
    """The six logit differences lie close to the linear fit of both signals."""
    enough, claim = published["behaviour/something-to-share"], published["s-inhibition/fit-error"]
    baseline, error = s_inhibition_signals["original", "original"], whole.share(fit_error(s_inhibition_signals))
    difference = record("logit difference, both signals original", mean_over_prompts(baseline), enough)
    error = record("mean error of the fit", error, claim)
    assert difference in enough  # a share of a negative difference would be small whatever the error
    assert error in claim


def test_the_position_signal_is_the_stronger_one(s_inhibition_signals, published, record):
    """The position signal's coefficient is above the token signal's."""
    claim = published["s-inhibition/position-over-token"]
    position, token = (signal_coefficient(s_inhibition_signals, signal) for signal in ("position", "token"))
    lead = record("position coefficient minus token coefficient", mean_over_prompts(position - token), claim)
    assert lead in claim
