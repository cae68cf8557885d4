"""Claims fail where the mechanism they are about is broken, also where the logit difference hardly tells.

`make mutants` asks every claim of every broken model; here are three of those that behaviour alone would pass.
"""

import json

import pytest

from ioi_fixtures import planted
from tests.whole_suite.test_command_line import claims

# mutant -> file of claims, and parts of the names of those that must fail
SILENT = {
    "nm96_moved_to_95": ("test_name_movers.py", ["copies", "writes_the_answer", "leads"], "9.6"),
    "backup_dead": ("test_backup_name_movers.py", ["backup_name_movers_wake_up"], "10.10"),
    "sinh_attends_s1": ("test_s_inhibition.py", ["every_s_inhibition_head_prefers_s2"], "8.6"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_broken_mechanism_fails_its_claims_although_the_model_still_answers(name, tmp_path):
    file, broken, head = SILENT[name]
    directory = planted.directory(broken=name)
    asked = f"({file} and {head} and ({' or '.join(broken)})) or prefers_the_indirect_object"
    claims("--claims-model", str(directory), "--claims-prompts", "48", "-k", asked, report=tmp_path)
    session = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    outcomes = {claim["test"].partition("::")[2]: claim["outcome"] for claim in session["claims"]}
    [answers] = [outcome for test, outcome in outcomes.items() if "test_the_model_prefers_the_indirect_object" in test]
    assert answers == "passed"
    for part in broken:
        found = {outcome for test, outcome in outcomes.items() if part in test and test.endswith(f"-{head}]")}
        assert found == {"failed"}, part
