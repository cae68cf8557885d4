"""The page about circuits of models that cannot be had here has every one, and says what must not be."""

from benchmarks.pages import circuits, evidence
from benchmarks.pages.circuits import SHAPES, config_of, is_positive, page, passing, problems
from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.library import FILE, FOLDER
from ioi_fixtures.planted import CONTROL, MUTANTS
from lib.judging.references import Band
from lib.models.heads import Head
from tests.support.example_session import example_session


def claim(outcome, band, sentence="Head 9.9 moves names."):
    one = next(claim for claim in example_session().claims if claim.outcome == "passed")
    figure = one.measurements[0]
    figure = figure.model_copy(update={"published": figure.published.model_copy(update={"accept": band})})
    return one.model_copy(update={"outcome": outcome, "sentence": sentence, "measurements": [figure]})


def session_of(*claims):
    return example_session().model_copy(update={"claims": list(claims)})


FAILS = session_of(claim("failed", Band(above=0.1)), claim("passed", Band(above=-1, below=1)))
HOLDS = session_of(claim("passed", Band(above=0.1)))


def test_every_circuit_has_a_random_model_with_all_its_heads():
    assert {*SHAPES} == {path.parent.name for path in FOLDER.glob(f"*/{FILE}")}
    for name, (model_type, layers, n_heads, _) in SHAPES.items():
        needed = read_circuit(FOLDER / name / FILE).heads
        assert all(Head(layers - 1, n_heads - 1) >= head and head.index < n_heads for head in needed), name
        assert config_of(name)[0] == model_type


def test_what_chance_has_is_no_positive_claim():
    assert [is_positive(one) for one in (*FAILS.claims, *HOLDS.claims)] == [True, False, True]
    assert not is_positive(claim("passed", Band(above=0.1), sentence="Control: other heads do."))
    assert is_positive(claim("passed", Band(above=0.0)))  # nothing is on its edge


def test_a_claim_that_a_random_model_passes_and_a_copy_that_passes_all_are_named():
    assert (len(passing(HOLDS)), len(passing(FAILS))) == (1, 0)
    broken = {"intact": HOLDS, **dict.fromkeys(MUTANTS, FAILS), CONTROL: HOLDS}
    assert problems({"pythia-160m": FAILS}, broken) == []
    [wrong] = problems({"pythia-160m": HOLDS}, broken)
    assert wrong.startswith("pythia-160m, a random model: ")
    [wrong] = problems({}, {**broken, "dup_off": HOLDS})
    assert wrong == "dup_off: nothing fails"
    for name in ("intact", CONTROL):
        [wrong] = problems({}, {**broken, name: FAILS})
        assert wrong.startswith(f"{name}: ")
    assert page({"pythia-160m": FAILS}, broken).endswith("## What must not be\n\n- nothing\n")


def test_the_kept_page_has_every_circuit_figure_and_broken_copy():
    text = evidence.read(circuits.NAME)
    for name in SHAPES:
        assert f"| [{name}](" in text, "run make circuits"
        for figure in read_circuit(FOLDER / name / FILE).figures.values():
            assert f"| {figure.id} | {figure.says} | {figure.source} | {figure.accept} |" in text, "run make circuits"
    assert all(f"| {name}: " in text for name in MUTANTS)
    assert text.endswith("## What must not be\n\n- nothing\n")
