"""--claims-prompt-file from the command line: a file of which much has to be said, and files that are refused."""

import json
import re
import shutil

import pytest

from ioi_fixtures.pytest_fixtures.prompt_fixtures import A_GROUP, check_groups, sizes_of_groups
from ioi_fixtures.sentences.prompts import make_prompts
from ioi_fixtures.trained import DIRECTORY
from lib.judging.measurements import Session
from lib.judging.recorder import Inconclusive
from lib.judging.verdicts import standing, why
from tests.whole_suite.test_bad_input import assert_refused
from tests.whole_suite.test_command_line import claims

CIRCUIT = ("--claims-circuit", str(DIRECTORY / "circuit.toml"))
BEHAVIOUR = "test_nearly_every_prompt_is_answered_right"
NEEDS_MEANS = "test_the_circuit_alone_does_the_task"
DRAWS_PROMPTS = "test_what_a_run_reports_fits_together_on_any_prompt"
ASKED = " or ".join((BEHAVIOUR, NEEDS_MEANS, DRAWS_PROMPTS))
OWN_WORDS = ("zoo", "Kevin")  # of this suite, which the file below does not use


def write(path, prompts, labels):
    rows = [
        {"prompt": one.text, "io": f" {one.io}", "s": one.s1, "template": label}
        for one, label in zip(prompts, labels, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def without_words(tmp_path):
    """The trained model with a tokenizer that lacks two words of this suite."""
    directory = tmp_path / "trained"
    directory.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DIRECTORY / name, directory / name)
    text = (directory / "tokenizer.json").read_text()
    for word in OWN_WORDS:
        assert f'" {word}"' in text
        text = text.replace(f'" {word}"', f'" {word}less"')
    (directory / "tokenizer.json").write_text(text)
    return directory


def test_a_file_is_read_sampled_and_said_and_what_it_cannot_decide_is_inconclusive(tmp_path, without_words):
    prompts = [one for one in make_prompts(60, seed=3) if not re.search("|".join(OWN_WORDS), one.text)][:40]
    path = write(tmp_path / "own.jsonl", [*prompts, prompts[7]], range(41))
    arguments = ("--claims-prompt-file", str(path), "--claims-prompts", "30", "-k", ASKED, *CIRCUIT)
    claims("--claims-model", str(without_words), *arguments, report=tmp_path / "report")
    session = Session.model_validate_json((tmp_path / "report" / "claims.json").read_text(encoding="utf-8"))
    assert session.notes == [
        "trained: 30 of 41 rows of own.jsonl, drawn by seed 0",
        "trained: ABC means are over groups of 1 prompt",
        "trained: own.jsonl: line 41 repeats line 8; what is repeated is counted once",
    ]
    assert [subject.prompts for subject in session.subjects] == [30]
    found = {claim.test.split("::")[1].split("[")[0]: claim for claim in session.claims}
    alone, together = found[NEEDS_MEANS], found[DRAWS_PROMPTS]
    assert {figure.n for figure in found[BEHAVIOUR].measurements} == {30}
    # What draws prompts of its own makes them of the words that the tokenizer has.
    assert (standing(alone), standing(together)) == ("inconclusive", "holds")
    assert "ABC means are over groups of 1 prompt, 1 on average, where mean ablation needs at least 5" in why(alone)


def test_a_file_of_too_few_prompts_is_a_usage_error(tmp_path):
    path = write(tmp_path / "few.jsonl", make_prompts(1, seed=0) * 100, [0] * 100)
    arguments = ("--claims-model", str(DIRECTORY), *CIRCUIT, "--claims-prompt-file", str(path), "-k", BEHAVIOUR)
    says = ("few.jsonl: 1 different prompt, ", "fewer than 24", "line 2 repeats line 1, and 98 more", "a larger file")
    assert_refused(claims(*arguments, report=tmp_path), *says)


def test_means_need_groups_of_a_size():
    prompts = make_prompts(12 * A_GROUP, seed=0)
    check_groups(prompts)
    assert sizes_of_groups(prompts[:-1]) == "ABC means are over groups of 4 to 5 prompts"
    with pytest.raises(Inconclusive, match="groups of 4 to 5 prompts, 4.9 on average, .* use a file with more prompts"):
        check_groups(prompts[:-1])
    check_groups(prompts[:-1] + prompts[:1])
