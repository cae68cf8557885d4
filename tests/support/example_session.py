"""A made-up session for the tests of the renderers: two subjects, every outcome, and text that tries to be markup.

The numbers are invented; records and verdicts are built by the same code as in a real run.
"""

from __future__ import annotations

from typing import Literal

from lib.judging.drawings import Bar, Bars, Edge, Graph, HeadMap, Lines, Node, Pattern, Scatter, Series, Table
from lib.judging.measurements import Claim, Measurement, Session, Shown, Subject, measurement
from lib.judging.references import Band, Reference
from lib.judging.statistics import Estimate, exact

SCRIPT = "<script>alert('claim')</script>"
HASH = "5f3c0a9be1d2" + "0" * 52
BOOTSTRAP = "studentized bootstrap over prompts"

REFERENCES = {
    "copying": Reference(
        id="movers/copy-score",
        says="above 95%",
        source="Wang et al. 2022, §3.1",
        how="answer in the top 5 logits of the head's output, N = 1000",
        accept=Band(above=0.9),
        why="a replication prints 94.5% for two of the three heads",
    ),
    "difference": Reference(
        id="behaviour/logit-difference",
        says="3.56",
        value=(3.56,),
        source="Wang et al. 2022, §2",
        how="mean over 100,000 prompts",
        accept=Band(above=3.3, below=3.8),
        why="replications on their own prompts print 3.48 to 3.76",
    ),
    "canary": Reference(
        id="canary/attribution",
        says="+2.986",
        source="exploratory demo, cell 21",
        how="eight fixed prompts",
        accept=Band(above=2.985, below=2.987),
        why="fixed prompts: only rounding may differ",
    ),
    "control": Reference(
        id="movers/control",
        says="10.1% on average",
        source="replication, all 144 heads",
        how="the same score of every other head",
        accept=Band(below=0.2),
        why="twice the printed average",
    ),
}


def example_session() -> Session:
    """Three claims about `planted` that do not hold, one for each reason, and `second`, where all holds."""
    return Session(
        started="2026-01-05T10:12:13Z",
        seconds=75.3,
        command="pytest claims --claims-prompts=100",
        versions={"python": "3.11.2", "torch": "2.13.0", "transformer-lens": "4.3.0"},
        subjects=[_subject("planted"), _subject("second")],
        not_measured=["third-model: its weights are not on this machine. To measure it: pytest claims -m gpu"],
        notes=["out of GPU memory: going on with 12 prompts at once"],
        claims=[*_planted(), *_second()],
        drawings=[
            Shown(test="claims/test_movers.py::test_copies[planted]", subject="planted", drawing=head_map(2.986)),
            Shown(test="claims/test_movers.py::test_copies[second]", subject="second", drawing=head_map(1.2)),
            *(
                Shown(test="claims/test_behaviour.py::test_difference[planted]", subject="planted", drawing=one)
                for one in one_of_each()
            ),
        ],
        families={"test_behaviour.py": "Behaviour", "test_movers.py": "Movers"},
        sources={"Wang et al. 2022": "https://example.org/wang"},
        task="Answering, as Wang et al. 2022 describe it.",
        glossary={"copies": f"writes what it attends to {SCRIPT}"},
        rerun="--claims-seed 3",
    )


def all_hold() -> Session:
    """A session of one subject about which every claim holds."""
    session = example_session()
    return session.model_copy(
        update={"subjects": session.subjects[1:], "claims": _second(), "drawings": [], "not_measured": [], "notes": []}
    )


def figure(
    reference: str,
    subject: str,
    label: str,
    value: float,
    low: float,
    high: float,
    n: int = 100,
    worst_prompt: str = "",
) -> Measurement:
    """A measurement judged against one of REFERENCES; n = 1 makes it exact."""
    estimate = Estimate(value, low, high, n, BOOTSTRAP) if n > 1 else exact(value)
    test = f"claims/test_movers.py::test_{reference}"
    return measurement(test, subject, label, estimate, REFERENCES[reference], worst_prompt=worst_prompt)


def claim(
    test: str,
    subject: str,
    sentence: str,
    outcome: Literal["passed", "failed", "error", "skipped"],
    *figures: Measurement,
    reason: str = "",
    seconds: float = 0.4,
) -> Claim:
    """A claim of claims/<test>."""
    return Claim(
        test=f"claims/{test}[{subject}]",
        subject=subject,
        sentence=sentence,
        outcome=outcome,
        seconds=seconds,
        reason=reason,
        measurements=list(figures),
    )


def _planted() -> list[Claim]:
    name = "planted"
    copies = figure("copying", name, "copy score of 9.9", 0.97, 0.945, 0.99)
    fails = figure("copying", name, "copy score of 10.0", 0.61, 0.55, 0.68)
    undecided = figure("difference", name, "logit difference", 3.41, 3.27, 3.56, worst_prompt=f"Then {SCRIPT} gave")
    canary = figure("canary", name, "direct logit attribution of 9.9", 2.9874, 2.9874, 2.9874, n=1)
    control = figure("control", name, "copy score of the average head", 0.101, 0.07, 0.14)
    return [
        claim(
            "test_movers.py::test_copies", name, "Head 9.9 copies the name it attends to.", "passed", copies, control
        ),
        claim(
            "test_movers.py::test_copies_too",
            name,
            "Head 10.0 copies the name it attends to.",
            "failed",
            fails,
            control,
            reason="assert 0.61 in <movers/copy-score>",
            seconds=12.25,
        ),
        claim(
            "test_behaviour.py::test_difference",
            name,
            "The answer beats the repeated name by about 3.56 logits.",
            "failed",
            undecided,
            reason="assert 3.41 in <behaviour/logit-difference>",
        ),
        claim("test_canaries.py::test_9_9", name, "Head 9.9 contributes +2.986 on fixed prompts.", "failed", canary),
        claim(
            "test_weights.py::test_text",
            name,
            f'Text such as {SCRIPT} & "quotes" is only text.',
            "error",
            reason=SCRIPT,
        ),
        claim("test_weights.py::test_rank", name, "The weights need a GPU.", "skipped", reason="needs a GPU"),
    ]


def _second() -> list[Claim]:
    name = "second"
    copies = figure("copying", name, "copy score of 9.9", 1.0, 0.9638, 1.0)
    difference = figure("difference", name, "logit difference", 3.52, 3.44, 3.61, n=1000)
    return [
        claim("test_movers.py::test_copies", name, "Head 9.9 copies the name it attends to.", "passed", copies),
        claim(
            "test_behaviour.py::test_difference", name, "The answer wins by about 3.56 logits.", "passed", difference
        ),
    ]


def _subject(name: str) -> Subject:
    return Subject(
        name=name,
        directory=f"models/{name}",
        weights_hash=HASH,
        shape="12 layers, 12 heads, d_model 768, 50257 tokens",
        device="cpu",
        dtype="float32",
        prompts=100,
        seed=0,
        prepend_bos=False,
    )


PRECISION = "weights as exact as float32 (8e-08 off), arithmetic as exact as float64 (4e-16 off)"


def in_float64(session: Session) -> Session:
    """The session as if its first subject had been asked to compute in float64."""
    first, *others = session.subjects
    first = first.model_copy(update={"dtype": "float64", "precision": PRECISION})
    return session.model_copy(update={"subjects": [first, *others]})


def head_map(largest: float) -> HeadMap:
    """A map of 12 layers by 12 heads that has a few large values."""
    values = [[0.01 * ((layer * 7 + head * 5) % 11 - 5) for head in range(12)] for layer in range(12)]
    for layer, head, share in ((9, 9, 1.0), (10, 7, -0.64), (9, 6, 0.46), (11, 10, -0.33), (10, 0, 0.19)):
        values[layer][head] = share * largest
    return HeadMap(title="Direct logit attribution by head", unit="logit difference", values=values)


def one_of_each() -> list:
    """A drawing of every other kind, with text that tries to be markup."""
    points = Series(name="IO", x=[0.1, 0.5, 0.9], y=[1.0, 2.5, 4.0], names=["a", SCRIPT, "c"])
    bars = [
        Bar(label="9.9", value=0.4, low=0.3, high=0.6, group="movers"),
        Bar(label="10.7", value=-0.2, low=-0.3, high=-0.1, group=SCRIPT),
    ]
    nodes = [
        Node(name="9.9", group="movers", column=0, row=1),
        Node(name="8.6", group=SCRIPT, column=0, row=0),
        Node(name="logits", group="output", column=1, row=0.5),
    ]
    edges = [
        Edge(source="9.9", target="logits", value=-0.6),
        Edge(source="8.6", target="logits", value=0.2),
        Edge(source="8.6", target="9.9"),
    ]
    words, weights = ["Then", " Mary", " Mary"], [[1.0], [0.25, 0.75], [0.2, 0.5, 0.3]]
    return [
        Pattern(title=f"Attention {SCRIPT}", words=[SCRIPT, *words[1:]], weights=weights),
        Scatter(title="Scatter", x="attention", y=SCRIPT, series=[points], diagonal=True),
        Lines(title="Lines", x="layer", y="logits", ticks=["0", "1", SCRIPT], series=[points]),
        Bars(title="Bars", unit="share", bars=bars),
        Graph(title="Graph", unit="share", nodes=nodes, edges=edges),
        Table(title="Words", columns=["", *words], rows=[["layer 0", " to", SCRIPT, " the"]]),
    ]
