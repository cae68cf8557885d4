"""Hypothesis strategies that draw IOI prompts, for properties that must hold on every prompt.

Valid by construction: nothing is drawn and thrown away. Examples shrink to the first template, "ABBA" and the first
words of `words`. Draw a batch rather than a prompt where a model runs: a forward pass costs more than a draw.
`batches_of_prompts` is for what must hold on every prompt, `samples` for what must hold on average.

Out of scope: models and tokenizers. A strategy draws prompts; the test encodes them.
"""

from itertools import product

from hypothesis import strategies as st

from ioi_fixtures.sentences.prompts import ORDERS, Prompt, make_prompts
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

SEEDS = st.integers(0, 2**32 - 1)
# Drawn in pairs: Hypothesis deletes up to five draws at once, which is then one prompt of a batch (Hypothesis 6.170).
LAYOUTS = tuple(product(range(len(TEMPLATES)), ORDERS))
PLACES_AND_OBJECTS = tuple(product(PLACES, OBJECTS))


@st.composite
def names(draw: st.DrawFn, *, count: int) -> tuple[str, ...]:
    """`count` different names."""
    left = list(NAMES)
    # One index into what is left for each name: no draw can collide, and each shrinks to 0 on its own.
    return tuple(left.pop(draw(st.integers(0, len(left) - 1))) for _ in range(count))


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """One IOI prompt: any template, order, two names, place and object."""
    io, s = draw(names(count=2))
    template, order = draw(st.sampled_from(LAYOUTS))
    pattern = TEMPLATES[template]
    # Drawn even where the template has no use for it: Hypothesis would shrink to the template with the fewest draws.
    place, thing = draw(st.sampled_from(PLACES_AND_OBJECTS))
    return Prompt(
        template=template,
        pattern=pattern,
        order=order,
        io=io,
        s1=s,
        s2=s,
        answers=(io, s),
        place=place if "{PLACE}" in pattern else "",
        object=thing if "{OBJECT}" in pattern else "",
    )


def batches_of_prompts(*, min_size: int = 1, max_size: int = 8) -> st.SearchStrategy[tuple[Prompt, ...]]:
    """Between `min_size` and `max_size` prompts of any templates: lengths differ, so an encoded batch has padding."""
    return st.lists(prompts(), min_size=min_size, max_size=max_size).map(tuple)


def samples(n: int) -> st.SearchStrategy[tuple[Prompt, ...]]:
    """`n` prompts drawn at random (`make_prompts`) from some of the templates and orders: for claims with an interval.

    Prompts that Hypothesis draws one by one are no random sample: it likes them simple, and alike. Shrinks to seed 0,
    the first template and "ABBA"; Hypothesis prints the call of `make_prompts`, not `n` sentences.
    """
    some_templates = _some(tuple(range(len(TEMPLATES))))
    return st.builds(make_prompts, st.just(n), seed=SEEDS, templates=some_templates, orders=_some(ORDERS))


def _some(values: tuple) -> st.SearchStrategy[tuple]:
    """At least one of `values`, each once, in any order."""
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)
