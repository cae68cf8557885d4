"""The file of published figures is read strictly, every band in it refuses the value just outside, and an open verdict
says what would settle it."""

import ast
import math
import re

import numpy as np
import pytest
import torch

from ioi_fixtures import published
from lib.judging.references import Band, read_references
from lib.judging.statistics import Estimate, exact, mean_over_prompts, prompts_needed, share
from tests.support.places import CLAIMS, ROOT

SHARES = ROOT / "ioi_fixtures" / "pytest_fixtures" / "shares.py"
REFERENCES = read_references(published.FOLDER)
ENTRY = 'says = "1"\nsource = "S"\nhow = "h"\nwhy = "w"\n'


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=lambda reference: reference.id)
def test_every_band_accepts_its_ends_and_refuses_the_value_just_outside(reference):
    low, high = reference.accept.low, reference.accept.high
    for end, outward in ((low, -1), (high, 1)):
        if math.isfinite(end):
            assert exact(end) in reference
            assert exact(end + outward * max(1e-6, 1e-6 * abs(end))) not in reference


def test_every_entry_is_used_by_a_claim_and_every_claims_entry_exists():
    """A figure that no claim asks for would look checked. Names with a part that a test fills in match as patterns."""
    asking = [*CLAIMS.glob("test_*.py"), SHARES]  # whose shares claims record
    patterns = [pattern for path in asking for pattern in asked_of_published(path.read_text("utf-8"))]
    assert len(patterns) > 50
    assert [id for id in REFERENCES if not any(re.fullmatch(pattern, id) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, id) for id in REFERENCES)] == []


def test_an_entry_that_is_only_mentioned_is_not_used():
    assert asked_of_published("published['a/b'], other['c/d'], 'e/f'") == ["a/b"]
    [pattern] = asked_of_published("published[f'paths/{head}-to-{name(1)}']")
    assert re.fullmatch(pattern, "paths/9.9-to-logits")
    assert not re.fullmatch(pattern, "paths/9.9-from-logits")


def asked_of_published(source):
    """The ids that a file of claims looks up in `published`, as patterns."""
    patterns = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "published":
            parts = getattr(node.slice, "values", [node.slice])  # of an f-string, or the one constant
            texts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts]
            patterns.append("".join(texts))
    return patterns


def test_a_sound_entry_is_read(tmp_path):
    reference = _read(tmp_path, f'["a/b"]\n{ENTRY}accept = {{ above = 1.0, below = 2 }}')["a/b"]
    assert (reference.id, str(reference.accept)) == ("a/b", "1 to 2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'["a/b"]\n{ENTRY}accept = {{}}', "accepts everything says nothing"),
        (f'["a/b"]\n{ENTRY}accept = {{ above = 2, below = 1 }}', "band is empty: above 2.0 and below 1.0"),
        (f'["a/b"]\n{ENTRY}accept = {{ over = 2 }}', "accept.over: Extra inputs"),
        (f'["a/b"]\n{ENTRY}accept = {{ above = 2 }}\nbecause = "x"', "because: Extra inputs"),
        ('["a/b"]\nsays = "1"\nhow = "h"\nwhy = "w"\naccept = { above = 2 }', "source: Field required"),
        ('["a/b"]\nsays = "1"\nhow = "h"\nsource = "s"\nwhy = ""\naccept = { above = 2 }', "why: String should have"),
        (f'["a/b"]\n{ENTRY}accept = {{ above = 2 }}\nvalue = "above"', "value.0: Input should be a valid number"),
        (f'["a/b"]\n{ENTRY}accept = {{ above = 2 }}\nvalue = [1, nan]', "value.1: Input should be a finite number"),
        ('["a/b"', "not valid TOML"),
    ],
)
def test_an_unsound_entry_is_refused_with_file_entry_and_key(tmp_path, text, says):
    with pytest.raises(ValueError, match=says) as error:
        _read(tmp_path, text)
    assert "published.toml" in str(error.value)


def test_an_entry_that_two_files_of_a_folder_have_is_refused(tmp_path):
    for name, id in (("a", "x/1"), ("b", "x/2")):
        (tmp_path / f"{name}.toml").write_text(f'["{id}"]\n{ENTRY}accept = {{ above = 2 }}', encoding="utf-8")
    assert list(read_references(tmp_path)) == ["x/1", "x/2"]
    (tmp_path / "c.toml").write_text(f'["x/1"]\n{ENTRY}accept = {{ above = 3 }}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"c\.toml: \['x/1'\] stands in another file"):
        read_references(tmp_path)


def test_figures_stand_in_a_file_named_as_the_claims_that_read_them():
    """All figures of a file whose claims read them; what several families read is in one of theirs."""
    for file in published.FOLDER.glob("*.toml"):
        asked = asked_of_published((CLAIMS / f"test_{file.stem}.py").read_text("utf-8"))
        # Read by whoever divides by the logit difference.
        shared = {"behaviour/something-to-share", "behaviour/anything-to-share"}
        for id in read_references(file):
            assert id in shared or any(re.fullmatch(pattern, id) for pattern in asked), f"{file.name}: {id}"


def test_an_unknown_id_is_answered_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'behaviour/accuracy'"):
        REFERENCES["behavior/acuracy"]


def test_a_bare_number_is_no_estimate():
    with pytest.raises(TypeError, match="only an Estimate is judged"):
        assert 0.9 in REFERENCES["behaviour/accuracy"]


def test_a_verdict_names_value_band_and_source():
    said = REFERENCES["name-movers/copy-score"].explain(exact(0.5))
    for part in ("0.5", "at least 0.85", "Wang et al. 2022, §3.1", "outside the band"):
        assert part in said


def _read(folder, text):
    path = folder / "published.toml"
    path.write_text(text, encoding="utf-8")
    return read_references(path)


def written(value, says):
    """Whether a number stands in words, as it is or in percent."""
    found = re.findall(r"([-+]?\d*\.?\d+)(%?)", says)
    return any(math.isclose(value, float(digits) / (100 if percent else 1), abs_tol=1e-9) for digits, percent in found)


# Published without its sign: the paths lower the logit difference.
SIGN_IS_OURS = {"paths/previous-token-heads-to-induction-keys"}


@pytest.mark.parametrize("reference", [one for one in REFERENCES.values() if one.value], ids=lambda one: one.id)
def test_a_published_number_is_the_one_in_words_and_lies_in_the_band(reference):
    for value in reference.value:
        assert written(-value if reference.id in SIGN_IS_OURS else value, reference.says)
        assert reference.accept.low <= value <= reference.accept.high


def test_a_number_that_is_not_in_the_words_is_seen():
    assert written(0.87, "87%")
    assert written(-0.77, "0.016, and -0.77 on 25 prompts")
    assert not written(87.0, "87%")
    assert not written(0.77, "-0.77")


@pytest.mark.parametrize(("given", "read"), [("value = 3.5", (3.5,)), ("value = [1, 2.5]", (1.0, 2.5)), ("", ())])
def test_a_published_number_may_be_one_several_or_none(tmp_path, given, read):
    assert _read(tmp_path, f'["a/b"]\n{ENTRY}accept = {{ above = 1.0 }}\n{given}')["a/b"].value == read


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (2.6, 3.4, "pass"),
        (1.0, 2.4, "fail"),
        (4.6, 5.0, "fail"),
        (2.4, 3.0, "inconclusive"),
        (2.0, 5.0, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(low, high, verdict):
    assert Band(above=2.5, below=4.5).judge(Estimate((low + high) / 2, low, high, 100, "test")) == verdict


def test_an_inconclusive_verdict_says_how_many_more_prompts():
    estimate = Estimate(3.0, 2.5, 3.5, 100, "test")
    # The arm of .5 has to shrink to the distance of .25: (.5 / .25)^2 = 4 times the prompts.
    assert prompts_needed(estimate, 2.75) == 400
    assert "300 more prompts" in Band(above=2.75).advice(estimate)


def test_more_prompts_do_settle_what_they_are_said_to_settle():
    values = torch.tensor(np.random.default_rng(3).normal(3.0, 2.0, size=4000))
    few = mean_over_prompts(values[:50])
    band = Band(above=few.value - 0.4)
    assert band.judge(few) == "inconclusive"
    needed = int(prompts_needed(few, band.above) * 1.2)
    assert band.judge(mean_over_prompts(values[:needed] - values[:needed].mean() + few.value)) == "pass"


def test_a_value_on_the_edge_is_not_promised_a_verdict():
    assert "no reasonable number" in Band(above=3.0).advice(Estimate(3.0, 2.5, 3.5, 100, "test"))


def test_more_prompts_are_not_advised_where_a_figure_is_of_names():
    estimate = share(torch.arange(100) < 93, of="names")
    assert Band(above=0.9).judge(estimate) == "inconclusive"
    assert Band(above=0.9).advice(estimate) == (
        "it is over all 100 names there are: no number of prompts would settle it"
    )


def test_more_prompts_than_a_file_has_are_not_advised():
    band, estimate = Band(above=2.75), Estimate(3.0, 2.5, 3.5, 100, "test")
    assert band.advice(estimate, available=400) == band.advice(estimate)
    assert band.advice(estimate, available=399) == (
        "the file has no more prompts: use a larger file (about 300 more prompts would settle it)"
    )


def test_an_exact_figure_is_never_inconclusive():
    assert Band(above=3.0).judge(exact(3.0)) == "pass"
    assert Band(above=3.0).judge(exact(2.999)) == "fail"
