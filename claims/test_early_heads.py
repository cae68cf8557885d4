"""§3.3, App. C and H: duplicate-token, induction and previous-token heads find the first mention of the subject."""

import pytest

from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS, DUPLICATE_TOKEN, INDUCTION, PREVIOUS_TOKEN
from ioi_fixtures.pytest_fixtures.drawings import pattern_of
from lib.instruments.attention import attention
from lib.judging.statistics import mean_over_prompts
from lib.models.heads import Head, heads, without

# Where each class looks: from the position where it works to the position it reads.
LOOKS = {
    "duplicate": (DUPLICATE_TOKEN, "S2", "S1"),
    "induction": (INDUCTION, "S2", "S1+1"),
    "previous": (PREVIOUS_TOKEN, "S1+1", "S1"),
}
EARLY_HEADS = [(kind, head) for kind, (members, _, _) in LOOKS.items() for head in members]

every_early_head = pytest.mark.parametrize(("kind", "head"), EARLY_HEADS, ids=str)


@every_early_head
def test_every_early_head_attends_where_its_class_does(kind, head, model, ioi, ioi_run, published, record):
    """On IOI prompts, head {head} ({kind}) attends where its class does, strongly or weakly as it does elsewhere."""
    claim = published[f"{kind}/attention-of-{head}"]
    _, query, key = LOOKS[kind]
    looks = attention(ioi_run, query=ioi.positions[query], key=ioi.positions[key])[head]
    record.show(pattern_of(head, model, ioi, ioi_run))
    mean = record(f"attention of {head} from {query} to {key}", mean_over_prompts(looks), claim)
    assert mean in claim


@pytest.mark.parametrize("kind", LOOKS)
def test_an_average_head_does_not_attend_there(kind, ioi, ioi_run, published, record):
    """Control: the average head outside the circuit attends little where heads of this class ({kind}) do."""
    claim = published[f"any-head/{kind}-attention"]
    _, query, key = LOOKS[kind]
    looks = without(attention(ioi_run, query=ioi.positions[query], key=ioi.positions[key]), CIRCUIT_HEADS)
    mean = record(f"attention from {query} to {key}, other heads", mean_over_prompts(looks.mean(0)), claim)
    assert mean in claim


@every_early_head
def test_every_early_head_scores_as_published_on_random_tokens(kind, head, random_token_scores, published, record):
    """On repeated random tokens, the score of head {head} ({kind}) is as published, strong or weak."""
    claim = published[f"{kind}/random-tokens-{head}"]
    scores = getattr(random_token_scores, kind)[head]
    mean = record(f"{kind}-token score of {head}", mean_over_prompts(scores, of="sequences"), claim)
    assert mean in claim


@pytest.mark.parametrize("kind", LOOKS)
def test_an_average_head_does_not_score_on_random_tokens(kind, random_token_scores, published, record):
    """Control: the average head outside the circuit has a low score ({kind})."""
    claim = published[f"any-head/{kind}-score"]
    scores = without(getattr(random_token_scores, kind), CIRCUIT_HEADS)
    record.head_map(f"{kind}-token score", "attention", getattr(random_token_scores, kind).mean(-1))
    mean = record(f"{kind}-token score, other heads", mean_over_prompts(scores.mean(0), of="sequences"), claim)
    assert mean in claim


@pytest.mark.parametrize("other", heads("5.8"), ids=str)
def test_the_weak_induction_head_still_looks_there_first(other: Head, ioi, ioi_run, published, record):
    """From S2, induction head {other} attends to S1+1 more than to S1 or IO."""
    claim = published["induction/5.8-looks-there-first"]
    from_s2 = {
        name: attention(ioi_run, query=ioi.positions["S2"], key=ioi.positions[name])[other]
        for name in ("S1+1", "S1", "IO")
    }
    lead = from_s2["S1+1"] - from_s2["S1"].maximum(from_s2["IO"])
    lead = record(f"attention of {other} to S1+1 over S1 and IO", mean_over_prompts(lead), claim)
    assert lead in claim
