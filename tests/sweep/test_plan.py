"""What SWEEP.toml may say, what becomes of patterns and schedules, and what is refused with which words."""

import pytest

from lib.schedules import step_of
from lib.sweep.plan import PlanError, name_of, read_plan


def plan_of(folder, text):
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return read_plan(path)


def names(folder, *lines):
    models = "\n".join(f"[[models]]\n{line}" for line in lines)
    return [one.name for one in plan_of(folder, f'results = "out"\n{models}').models]


def test_a_pattern_stands_for_each_of_its_words(tmp_path):
    assert names(tmp_path, 'model = "EleutherAI/pythia-{70m,160m}@step{1000,2000}"') == [
        "pythia-70m@step1000",
        "pythia-70m@step2000",
        "pythia-160m@step1000",
        "pythia-160m@step2000",
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[5, 7]", [5, 7]),
        ("{ every = 1000, first = 1000, last = 4500 }", [1000, 2000, 3000, 4000]),
        ("{ linear = 3, first = 0, last = 100 }", [0, 50, 100]),
        ("{ log = 4, first = 1, last = 1000 }", [1, 10, 100, 1000]),
        ("{ log = 3, first = 1000, last = 143000, multiple = 1000 }", [1000, 12000, 143000]),
    ],
)
def test_schedules_by_name(steps, expected, tmp_path):
    made = plan_of(tmp_path, f'results = "out"\n[[models]]\nmodel = "me/m@step{{}}"\nsteps = {steps}')
    assert [one.step for one in made.models] == expected
    assert {one.line for one in made.models} == {"m"}


def test_a_star_stands_for_what_is_there_in_order_of_step(tmp_path):
    for step in (10, 9, 100):
        (tmp_path / "seed0" / f"step{step}").mkdir(parents=True)
    assert names(tmp_path, 'model = "seed0/step*"') == ["seed0@step9", "seed0@step10", "seed0@step100"]


@pytest.mark.parametrize(
    ("source", "name", "step"),
    [
        ("EleutherAI/pythia-160m@step1000", "pythia-160m@step1000", 1000),
        ("/a/seed 1/checkpoint-40", "seed-1@checkpoint-40", 40),
        ("stanford-crfm/alias-gpt2-small-x21@checkpoint-500", "alias-gpt2-small-x21@checkpoint-500", 500),
        ("planted", "planted", None),
    ],
)
def test_names_and_steps(source, name, step):
    assert (name_of(source), step_of(source)) == (name, step)


def test_models_are_ordered_line_by_line_and_by_step(tmp_path):
    made = plan_of(
        tmp_path,
        'results = "out"\n[[models]]\nmodel = "a/x@step{20,3}"\nline = "one"\n[[models]]\nmodel = "a/y@step{2,1}"\n',
    )
    assert [(one.line, one.step) for one in made.in_order] == [("one", 3), ("one", 20), ("y", 1), ("y", 2)]


def test_a_group_says_what_its_models_need_and_may_have_a_circuit_of_its_own(tmp_path):
    (tmp_path / "c.toml").touch()
    one, other = plan_of(
        tmp_path,
        'results = "s3://bucket/out"\ncircuit = "known"\n[[models]]\nmodel = "a/x"\ncpus = 2\ngpus = 0.5\n'
        'memory = "2GiB"\nminutes = 1.5\ncircuit = "c.toml"\n[[models]]\nmodel = "a/y"',
    ).models
    assert (one.cpus, one.gpus, one.memory, one.seconds) == (2, 0.5, 2**31, 90)
    assert one.circuit == str(tmp_path / "c.toml")
    assert other.circuit == "known"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("results = 3", "results: 3: Input should be a valid string"),
        ('reslts = "a"\n[[models]]\nmodel = "a/b"', "reslts is unknown: did you mean 'results'?"),
        ('results = "a"', "models is missing"),
        ('results = "a"\n[[models]]\nmodell = "b"', "models.0.modell is unknown: did you mean 'model'?"),
        ('results = "a"\n[[models]]\nmodel = "b/c@step{}"', "say which with steps"),
        ('results = "a"\n[[models]]\nmodel = "b/c"\nsteps = [1]', "write {} where the step stands"),
        ('results = "a"\n[[models]]\nmodel = "b/c"\nmemory = "lots"', "'lots' is no memory size"),
        ('results = "a"\n[[models]]\nmodel = "b/{c,c}"', "the name 'c' is there twice"),
        ('results = "a"\n[[models]]\nmodel = "b/c"\n[[models]]\nmodel = "d/c"', "is also what b/c is called"),
        ('results = "a"\nagainst = "firts"\n[[models]]\nmodel = "b/c"', "did you mean 'first'?"),
        ('results = "a"\nprompts = 3\n[[models]]\nmodel = "b/c"', "prompts: 3: Input should be greater"),
        ('results = "a"\n[[models]]\nmodel = "none/step*"', "there is nothing like it in"),
        (
            'results = "a"\n[[models]]\nmodel = "b/c@step{}"\nsteps = { log = 2, first = 0, last = 9 }',
            "first 0 has no logarithm",
        ),
        (
            'results = "a"\n[[models]]\nmodel = "b/c@step{}"\nsteps = { first = 0, last = 9 }',
            "name one schedule",
        ),
        ("results = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(text, says, tmp_path):
    with pytest.raises(PlanError) as error:
        plan_of(tmp_path, text)
    assert says in str(error.value)
    assert str(tmp_path / "sweep.toml") in str(error.value)
