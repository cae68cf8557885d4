"""Figures of one model's own: read by id, chosen by step, and put in place of those of GPT-2 small."""

import re

import pytest

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.library import FILE
from ioi_fixtures.circuits.library import FOLDER as CIRCUITS
from ioi_fixtures.circuits.own_figures import PARTS, at_step, classes_of, heads_of, of_kind, read_figures
from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.circuit_fixtures import with_stated_bands
from lib.judging.references import read_references
from lib.models.heads import Head
from lib.schedules import step_of

FIGURE = '["{}"]\nsays = "{}"\nsource = "somebody"\nhow = "somehow"\naccept = {{ above = 0.5 }}\nwhy = "as published"\n'


def figures(folder, *ids):
    path = folder / "published.toml"
    path.write_text("\n".join(FIGURE.format(id, id) for id in ids), encoding="utf-8")
    return read_figures(path)


def test_figures_of_heads_and_layers_are_asked_one_by_one(tmp_path):
    found = figures(
        tmp_path, "attribution/8.10", "leads-against/20.1", "leads/3.1", "logit-lens/9", "behaviour/accuracy"
    )
    assert [(one.id, one.address) for one in of_kind(found, "attribution")] == [("attribution/8.10", Head(8, 10))]
    assert [(str(one), one.sign) for one in of_kind(found, "leads-against")] == [("20.1", -1)]
    assert [(str(one), one.sign) for one in of_kind(found, "leads")] == [("3.1", 1)]
    assert [one.address for one in of_kind(found, "logit-lens")] == [9]
    assert heads_of(found) == [Head(8, 10), Head(20, 1), Head(3, 1), Head(8, 0)]  # layer 8 has to be there


def test_figures_of_positions_mlps_and_signals_say_what_they_are_of(tmp_path):
    ids = ("attention/5.8 S2 to S1+1", "others-attention/END to S2", "others-attribution/mlp", "without-mlp/0")
    found = figures(tmp_path, *ids, "signals/S-inhibition random inverted @ step64", "logit-lens/0")
    addresses = [one.address for kind in PARTS for one in of_kind(found, kind)]
    assert addresses == [
        (Head(5, 8), "S2", "S1+1"),
        (None, "END", "S2"),
        "mlp",
        ("S-inhibition", "random", "inverted"),
        0,
        0,
    ]
    assert [str(one) for one in of_kind(found, "signals")] == ["S-inhibition, random token, inverted position"]
    assert heads_of(found) == [Head(5, 8), Head(0, 0)]
    assert classes_of(found) == ["S-inhibition"]


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("attribution/8", "'8' is not a head"),
        ("logit-lens/x", "'x' is no layer"),
        ("without-mlp/", "'' is no layer"),
        ("attention/5.8", "'' names no two positions"),
        ("attention/END to S2", "'END' is not a head"),
        ("others-attention/IO to S2", "'IO to S2' names no two positions, the second no later one"),
        ("others-attribution/heads", "'heads' is none of head and mlp"),
        ("signals/S-inhibition original random", "'S-inhibition original random' names no class and two signals"),
    ],
)
def test_an_address_that_is_none_is_named(id, says, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"published.toml: ['{id}']: {says}")):
        figures(tmp_path, id)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (None, "a"),
        (512, "a"),
        (1000, "a @ step1000"),
        (2000, "a"),
        (10000, "a @ step10000-"),
        (143000, "a @ step143000"),
    ],
)
def test_what_is_published_of_a_step_is_asked_at_that_step(step, says, tmp_path):
    ids = ("a @ step10000-", "a @ step143000", "a", "a @ step1000", "b @ step1000")
    chosen = at_step(figures(tmp_path, *ids), step)
    assert (chosen["a"].id, chosen["a"].says) == ("a", says)
    assert ("b" in chosen) == (step == 1000)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("EleutherAI/pythia-160m@step1000", 1000),
        ("stanford-crfm/alias-gpt2-small-x21@checkpoint-400000", 400000),
        ("/runs/step=64", 64),
        ("EleutherAI/pythia-160m", None),
        ("a/step-by-step", None),
    ],
)
def test_a_models_name_says_its_step(name, step):
    assert step_of(name) == step


def with_figures(folder, *ids, circuit='published = "published.toml"\n'):
    figures(folder, *ids)
    (folder / "circuit.toml").write_text(circuit, encoding="utf-8")
    return read_circuit(folder / "circuit.toml")


def test_a_figure_of_the_model_stands_in_place_of_gpt2_smalls(tmp_path):
    published = read_references(FOLDER)
    own = with_stated_bands(published, with_figures(tmp_path, "behaviour/accuracy", "attribution/8.10"))
    assert own["behaviour/accuracy"].source == own["attribution/8.10"].source == "somebody"
    assert own["circuit-file/edge"] == published["circuit-file/edge"]
    with pytest.raises(ValueError, match=r"'behaviour/acuracy'\] is of no claim .* did you mean 'behaviour/accuracy'"):
        with_stated_bands(published, with_figures(tmp_path, "behaviour/acuracy"))


def test_a_file_names_its_figures_and_needs_no_classes_then(tmp_path):
    assert with_figures(tmp_path, "attribution/8.10").heads == (Head(8, 10),)
    with pytest.raises(ValueError, match=r"complete: 'no' is neither true nor false"):
        with_figures(tmp_path, "attribution/8.10", circuit='published = "published.toml"\ncomplete = "no"\n')
    with pytest.raises(OSError, match=r"mine\.toml"):
        with_figures(tmp_path, "attribution/8.10", circuit='published = "mine.toml"\n')


def test_a_figure_of_a_class_that_the_file_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="published figures are of no class 'movers'"):
        with_figures(tmp_path, "signals/movers random inverted")


def test_figures_that_gpt2_smalls_file_has_of_the_families_are_the_same_there():
    published, copied = read_references(FOLDER), re.compile(r"as (\S+) of ioi_fixtures/published/")
    own = read_circuit(CIRCUITS / "gpt2-small" / FILE).figures.values()
    of_families = [(one, published[found[1]]) for one in own if (found := copied.match(one.why))]
    assert len(of_families) == 5
    for one, other in of_families:
        assert (one.value, one.accept) == (other.value, other.accept), one.id
        assert one.source == other.source, one.id
