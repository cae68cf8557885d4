"""A circuit file is read strictly, every slip is answered by name, and wrong heads in it fail its claims."""

import json

import pytest

from ioi_fixtures.circuits.circuit_file import by_head, read_circuit
from ioi_fixtures.circuits.other_heads import DRAWS, other_senders, random_places
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.controls.random_families import random_of
from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.circuit_fixtures import path_in_words, with_stated_bands
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.trained import DIRECTORY
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.checkpoint import read_config
from lib.models.heads import Head, heads
from tests.support.word_tokenizer import word_level
from tests.whole_suite.test_bad_input import assert_refused
from tests.whole_suite.test_command_line import claims

MOVERS = '[classes."name mover"]\nheads = "2.0 2.1"\nat = "END"\nattends_to = "IO"\nwrites = "answer"\n'
INHIBITION = '[classes."S-inhibition"]\nheads = "1.2"\nat = "END"\nattends_to = "S2"\n'
READS = 'reads = [{ from = "S-inhibition", input = "q" }]\n'
DUPLICATE = '[classes."duplicate"]\nheads = "0.3"\nat = "S2"\n'
COPIES = 'copies = "for"\n'
BAND = '[bands."circuit-file/attention"]\nsays = "0.3"\naccept = { above = 0.2 }\nwhy = "as measured"\n'
SOUND = f'model = "a toy"\n{MOVERS}{READS}{INHIBITION}reads = [{{ from = "duplicate", input = "v" }}]\n{DUPLICATE}'


def read(folder, text):
    path = folder / "circuit.toml"
    path.write_text(text, encoding="utf-8")
    return read_circuit(path)


def test_a_sound_file_is_read(tmp_path):
    circuit = read(tmp_path, SOUND)
    assert circuit.model == "a toy"
    assert [str(member) for member in circuit.members] == [
        "name mover 2.0",
        "name mover 2.1",
        "S-inhibition 1.2",
        "duplicate 0.3",
    ]
    assert [str(edge) for edge in circuit.edges] == ["S-inhibition to name mover q", "duplicate to S-inhibition v"]
    assert circuit.heads_at("END") == frozenset(heads("1.2 2.0 2.1"))


def test_what_a_file_may_say_besides(tmp_path):
    text = f'model = {{ id = "me/toy", revision = "step10" }}\nsource = "a toy paper"\nbos = true\n{MOVERS}'
    circuit = read(tmp_path, text + 'copies = "against"\nscores = "induction"\n' + BAND)
    assert (str(circuit.model), circuit.source, circuit.bos) == ("me/toy@step10", "a toy paper", True)
    assert [(one.copies, one.scores) for one in circuit.classes] == [("against", "induction")]
    assert circuit.bands["circuit-file/attention"].accept.above == 0.2


def test_a_band_of_a_file_is_said_to_be_stated_and_never_published(tmp_path):
    published = read_references(FOLDER)
    stated = with_stated_bands(published, read(tmp_path, MOVERS + BAND))["circuit-file/attention"]
    assert (stated.accept.above, stated.says, stated.value) == (0.2, "0.3", ())
    assert "stated: '0.3' (the circuit file, measured on other prompts" in stated.explain(exact(0.1))
    assert stated.how == published["circuit-file/attention"].how
    accuracy = read(tmp_path, MOVERS + BAND.replace("circuit-file/attention", "behaviour/accuracy"))
    assert with_stated_bands(published, accuracy)["behaviour/accuracy"].accept.above == 0.2
    with pytest.raises(ValueError, match=r"\[bands.'circuit-file/atention'\] is of no claim .* did you mean"):
        with_stated_bands(published, read(tmp_path, MOVERS + BAND.replace("attention", "atention")))


SLIPS = {
    "no TOML": ("[classes", "is no TOML"),
    "empty": ("", "has no classes"),
    "classes that are no tables": ("classes = 3", "has no classes"),
    "a class that is no table": ("[classes]\na = 3", "[classes.'a']"),
    "misspelt section": (f"modle = 'x'\n{MOVERS}", "'modle' is unknown: did you mean 'model'?"),
    "misspelt claim": (MOVERS.replace("attends_to", "atends_to"), "'atends_to' is unknown: did you mean 'attends_to'?"),
    "misspelt position": (MOVERS.replace('"END"', '"end"'), "at: 'end' is unknown: did you mean 'END'?"),
    "misspelt direction": (MOVERS.replace('"answer"', '"anser"'), "writes: 'anser' is unknown: did you mean 'answer'?"),
    "no position": (MOVERS.replace('at = "END"\n', ""), "at: Field required"),
    "no head": (MOVERS.replace("2.0 2.1", "2.0 21"), "'21' is not a head"),
    "no heads": (MOVERS.replace("2.0 2.1", ""), "names no heads"),
    "heads as a number": (MOVERS.replace('"2.0 2.1"', "2.0"), "2.0 names no heads"),
    "misspelt sender": (
        SOUND.replace('from = "S-inhibition"', 'from = "S-inhibtion"'),
        "no class 'S-inhibtion': did you mean 'S-inhibition'?",
    ),
    "misspelt input": (SOUND.replace('"q"', '"query"'), "reads.0.input: 'query' is unknown: use one of q, k, v"),
    "misspelt key of a path": (SOUND.replace("from =", "form ="), "'form' is unknown: did you mean 'from'?"),
    "a head in two classes": (SOUND.replace("1.2", "2.1"), "head 2.1 at END is in 'name mover' and in 'S-inhibition'"),
    "a head twice in a class": (MOVERS.replace("2.1", "2.0"), "head 2.0 at END is in 'name mover' and in 'name mover'"),
    "attention to what follows": (
        MOVERS.replace('"END"', '"S1"'),
        "attends_to: 'IO' may stand after 'S1'",
    ),
    "queries from elsewhere": (
        SOUND.replace('input = "v"', 'input = "q"'),
        "through q it reads at END, but these heads work at S2",
    ),
    "copying before the first MLP": (
        MOVERS.replace("2.0 2.1", "0.1") + 'copies = "for"\n',
        "head 0.1 comes before the",
    ),
    "a score nobody has": (
        MOVERS + 'scores = "inductoin"\n',
        "scores: 'inductoin' is unknown: did you mean 'induction'?",
    ),
    "a model without a name": ('model = { revision = "main" }\n' + MOVERS, "model id: Field required"),
    "a source that is no text": ("source = 3\n" + MOVERS, "source: 3 is no text"),
    "a band without its reason": (MOVERS + BAND.replace("why", "hwy"), "'hwy' is unknown: did you mean 'why'?"),
    "a band that is empty": (MOVERS + BAND.replace("0.2", "0.2, below = 0.1"), "accept: the band is empty"),
    "bands that are no table": ("bands = 3\n" + MOVERS, "bands: 3 is no table of bands"),
    "a sender above": (SOUND.replace("1.2", "2.2"), "none of 'S-inhibition' is in a layer below any of 'name mover'"),
}


@pytest.mark.parametrize("case", SLIPS)
def test_every_slip_is_answered_by_name(case, tmp_path):
    text, says = SLIPS[case]
    with pytest.raises(ValueError, match="circuit.toml") as error:
        read(tmp_path, text)
    assert says in str(error.value)


def test_what_may_stand_before_a_position_does_in_every_prompt():
    positions = encode(make_prompts(48, seed=0), word_level(eos_token="<eos>"), prepend_bos=False).positions
    for at, earlier in BEFORE.items():
        always = {name for name in BEFORE if bool((positions[name] < positions[at]).all())}
        assert always == set(earlier), at


def test_random_circuits_have_as_many_heads_at_the_same_positions_and_none_of_the_circuits(tmp_path):
    places = read(tmp_path, SOUND).places
    drawn = [random_places(places, seed, n_layers=3, n_heads=4) for seed in range(3)]
    for one in drawn:
        assert not one & places
        assert sorted(position for _, position in one) == sorted(position for _, position in places)
    assert len(set(drawn)) == 3


def test_where_other_heads_are_few_a_random_circuit_has_all_of_them():
    places = frozenset((head, "END") for head in heads("0.0 0.1 0.2 1.0 1.1"))
    assert by_head(random_places(places, 0, n_layers=2, n_heads=3)) == {(1, 2): ("END",)}


def test_a_path_is_compared_with_as_many_heads_below_the_receivers(tmp_path):
    circuit = read(tmp_path, SOUND)
    for edge in circuit.edges:
        sets = other_senders(edge.sender.heads, edge.receiver.heads, edge.sender.at, circuit.places, n_heads=4)
        assert len(sets) == DRAWS
        for one in sets:
            assert len(one) == len(edge.sender.heads)
            assert max(one).layer < max(edge.receiver.heads).layer
            assert not {(head, edge.sender.at) for head in one} & circuit.places


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MOVERS.replace("attends_to", "atends_to"), "did you mean 'attends_to'?"),
        (MOVERS.replace("2.0", "7.1"), "so it has no head 7.1, which the circuit file names: the nearest is 2.1"),
        (MOVERS.replace("2.0", "1.99"), "has no head 1.99, which the circuit file names: the nearest is 1.3"),
    ],
)
def test_a_file_that_cannot_be_followed_is_a_usage_error_of_one_screen(text, says, tmp_path):
    path = tmp_path / "circuit.toml"
    path.write_text(text, encoding="utf-8")
    done = claims("--claims-model", str(DIRECTORY), "--claims-circuit", str(path), report=tmp_path)
    assert_refused(done, says)


@pytest.mark.parametrize("name", ["test_circuit_file.py", "test_circuit_figures.py"])
def test_its_claims_without_a_file_are_a_usage_error(name, tmp_path):
    done = claims(f"claims/{name}", report=tmp_path)
    assert_refused(done, "add --claims-circuit FILE")


def outcomes(circuit, folder, *arguments):
    """How the claims of a circuit file come out on the trained model, by name, and what was set aside."""
    asked = ["--claims-model", str(DIRECTORY), "--claims-circuit", str(circuit), "--claims-prompts", "48"]
    claims(*asked, "-k", "test_circuit_file", *arguments, report=folder)
    session = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    return {claim["test"].partition("::")[2]: claim["outcome"] for claim in session["claims"]}, session["not_measured"]


def test_a_class_of_wrong_heads_fails_its_claims(tmp_path):
    """The movers' table with other heads in it: attention, attribution and the circuit as a whole are wrong."""
    circuit = read_circuit(DIRECTORY / "circuit.toml")
    first = circuit.classes[0]
    layer = max(first.heads).layer  # heads of a lower one could not read what the file says the class reads
    everyone = [Head(layer, index) for index in range(read_config(DIRECTORY)["n_head"])]
    others = [head for head in everyone if head not in circuit.heads_at(first.at)]
    assert len(others) == len(first.heads)
    right = " ".join(map(str, first.heads))
    text = (DIRECTORY / "circuit.toml").read_text(encoding="utf-8")
    assert f'heads = "{right}"' in text
    wrong = tmp_path / "circuit.toml"
    wrong.write_text(text.replace(f'heads = "{right}"', f'heads = "{" ".join(map(str, others))}"', 1), "utf-8")
    found, _ = outcomes(wrong, tmp_path, "--claims-one-look")
    assert {found[test] for test in found if "test_every_head_attends" in test and first.name in test} == {"failed"}
    assert {found[test] for test in found if "test_every_class_writes" in test and first.name in test} == {"failed"}
    assert {found[test] for test in found if "test_the_circuit_alone" in test} == {"failed"}
    assert {found[test] for test in found if "test_the_model_does" in test} == {"passed"}


def test_what_a_file_does_not_state_is_set_aside_and_said(tmp_path):
    path = tmp_path / "circuit.toml"
    path.write_text('[classes.a]\nheads = "2.0"\nat = "END"\n', encoding="utf-8")
    found, not_measured = outcomes(path, tmp_path)
    assert not any("attends" in test or "writes" in test or "path" in test for test in found)
    assert any("10 claims are about what the circuit file does not state" in note for note in not_measured)


def test_without_a_model_the_one_that_the_file_names_is_asked(tmp_path):
    path = tmp_path / "circuit.toml"
    path.write_text(f'model = {{ id = "nobody/no-such-model", revision = "step10" }}\n{MOVERS}', encoding="utf-8")
    done = claims("--claims-circuit", str(path), report=tmp_path)
    assert_refused(done, "hf download nobody/no-such-model --revision step10")


def test_copying_and_scores_are_asked_where_a_file_states_them(tmp_path):
    """Of a head that moves no name and looks for no earlier token. In a model of 12 heads the average one may copy."""
    path = tmp_path / "circuit.toml"
    text = '[classes.a]\nheads = "2.2"\nat = "END"\ncopies = "{}"\nscores = "induction"\n'
    wrong = {"copies_as_its_class", "scores_on_random_tokens"}
    for copies in ("for", "against"):
        path.write_text(text.format(copies), encoding="utf-8")
        found, _ = outcomes(path, tmp_path, "--claims-one-look")
        assert {name for test, came in found.items() if came == "failed" for name in wrong if name in test} == wrong
        controls = [came for test, came in found.items() if "other_head_does_not_" in test]
        assert len(controls) == 2
        assert controls[1] == "passed"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gpt2", "duplicate to mover v"),
        ("llama", "duplicate to mover v (v of 2.kv0, which whole groups of heads read)"),
    ],
)
def test_a_path_into_values_that_heads_share_says_whose_they_are(name, says, tmp_path):
    text = '[classes.mover]\nheads = "2.0 2.1"\nat = "END"\nreads = [{ from = "duplicate", input = "v" }]\n'
    [edge] = read(tmp_path, text + DUPLICATE).edges
    assert path_in_words(edge, random_of(name).weights) == says
