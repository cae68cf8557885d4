"""§3.4 and App. F: with the name movers knocked out at END, backup heads take over, so little is lost."""

import pytest

from ioi_fixtures.circuits.circuit import NAME_MOVERS, NEGATIVE_NAME_MOVERS
from ioi_fixtures.pytest_fixtures.drawings import change_by_head
from lib.instruments.attribution import attribution_by_head
from lib.instruments.readout import scale_ratio
from lib.judging.statistics import mean_over_prompts
from lib.models.heads import heads, select

STRONGEST = NAME_MOVERS[:1]  # 9.9
KNOCK_OUTS = {
    "9.9 zero-ablated": (STRONGEST, "zero"),
    "9.9 mean-ablated": (STRONGEST, "mean"),
    "all name movers mean-ablated": (NAME_MOVERS, "mean"),
}
WAKE_UP = heads("10.10 10.2 10.1 10.6")  # rise in the Exploratory Analysis demo; the other four do not


@pytest.mark.parametrize("knock_out", KNOCK_OUTS)
def test_little_is_lost_without_name_movers(knock_out, knocked_out, ioi, whole, published, record):
    """With {knock_out} at END, most of the logit difference is left."""
    enough, claim = published["behaviour/something-to-share"], published[f"backup/{knock_out}"]
    left = whole.share(knocked_out(*KNOCK_OUTS[knock_out]).logit_difference(ioi.answers))
    difference = record("logit difference before", mean_over_prompts(whole.difference), enough)
    left = record(f"logit difference left, {knock_out}", left, claim)
    assert difference in enough  # of next to nothing most is left, whatever is knocked out
    assert left in claim


@pytest.mark.parametrize("knock_out", KNOCK_OUTS)
def test_the_naive_prediction_fails(knock_out, knocked_out, model, ioi, ioi_run, whole, published, record):
    """With {knock_out}, far more is left than subtracting what the heads wrote would predict."""
    claim = published[f"backup/beyond-naive, {knock_out}"]
    removed, by = KNOCK_OUTS[knock_out]
    naive = whole.difference - select(attribution_by_head(ioi_run, model.weights, ioi.answers), removed).sum(0)
    beyond = knocked_out(removed, by).logit_difference(ioi.answers) - naive
    beyond = record(f"left beyond the naive prediction, {knock_out}", whole.share(beyond), claim)
    assert beyond in claim


@pytest.mark.parametrize("head", WAKE_UP, ids=str)
def test_backup_name_movers_wake_up(head, attribution_change, published, record):
    """With all name movers mean-ablated, backup name mover {head} writes more of the answer than before."""
    claim = published[f"backup/rises, {head}"]
    change = attribution_change(NAME_MOVERS, "mean")
    record.head_map("Change of attribution without name movers", "logit difference", change.mean(-1))
    rise = record(f"rise of {head}", mean_over_prompts(change[head]), claim)
    assert rise in claim


@pytest.mark.parametrize("head", heads("9.0 9.7"), ids=str)
def test_some_heads_called_backups_do_not_wake_up(head, attribution_change, published, record):
    """With 9.9 zero-ablated, {head} writes what it wrote before, though the paper counts it among the backups."""
    claim = published["backup/does-not-rise"]
    rise = record(f"rise of {head}", mean_over_prompts(attribution_change(STRONGEST, "zero")[head]), claim)
    assert rise in claim


@pytest.mark.parametrize("head", heads("11.2 11.9"), ids=str)
def test_late_backups_hardly_move(head, attribution_change, published, record):
    """With 9.9 zero-ablated, {head} changes what it writes by little."""
    claim = published["backup/late-heads"]
    rise = record(f"rise of {head}", mean_over_prompts(attribution_change(STRONGEST, "zero")[head]), claim)
    assert rise in claim


@pytest.mark.parametrize("head", NEGATIVE_NAME_MOVERS[:1], ids=str)
def test_a_negative_name_mover_weakens(head, attribution_change, published, record):
    """With 9.9 zero-ablated, negative name mover {head} writes less against the answer."""
    claim = published["backup/negative-weakens"]
    changes = attribution_change(STRONGEST, "zero")
    record.show(change_by_head("Change of attribution without 9.9", changes))
    change = record(f"change of {head}", mean_over_prompts(changes[head]), claim)
    assert change in claim


def test_the_final_layer_norm_explains_little_of_it(knocked_out, ioi_run, published, record):
    """With 9.9 zero-ablated, the final LayerNorm's scale shrinks by a few percent: all heads count that much more."""
    claim = published["backup/layer-norm-ratio"]
    ratio = scale_ratio(ioi_run, knocked_out(STRONGEST, "zero"))
    ratio = record("final LayerNorm scale, before / after", mean_over_prompts(ratio), claim)
    assert ratio in claim
