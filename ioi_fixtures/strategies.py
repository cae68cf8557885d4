"""Hypothesis strategies that draw IOI prompts, for properties that must hold on every prompt.

Valid by construction: nothing is drawn and thrown away. Examples shrink to the first template, "ABBA" and the first
words of `words`. Related values are drawn together, so a property about two batches needs no filter either. Draw a
batch rather than a prompt where a model runs: a forward pass costs more than a draw.

Out of scope: models and tokenizers. A strategy draws prompts; the test encodes them.
"""

from dataclasses import replace

from hypothesis import strategies as st

from ioi_fixtures.prompts import ORDERS, Prompt
from ioi_fixtures.words import NAMES, OBJECTS, PLACES, TEMPLATES


@st.composite
def names(draw: st.DrawFn, *, count: int) -> tuple[str, ...]:
    """`count` different names."""
    left = list(NAMES)
    # One index into what is left for each name: no draw can collide, and each shrinks to 0 on its own.
    return tuple(left.pop(draw(st.integers(0, len(left) - 1))) for _ in range(count))


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """One IOI prompt: any template, order, two names, place and object."""
    return _prompt(draw, *draw(names(count=2)))


def batches_of_prompts(*, min_size: int = 1, max_size: int = 8) -> st.SearchStrategy[tuple[Prompt, ...]]:
    """Between `min_size` and `max_size` prompts of any templates: lengths differ, so an encoded batch has padding."""
    return st.lists(prompts(), min_size=min_size, max_size=max_size).map(tuple)


@st.composite
def renamed_prompts(
    draw: st.DrawFn, *, min_size: int = 1, max_size: int = 8
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Prompts, and the same prompts about two other people each: only names differ, answers included.

    `variants.fresh_names` keeps the original's answers instead; here the renamed prompt is a prompt of its own.
    """
    pairs = []
    for _ in range(draw(st.integers(min_size, max_size))):
        io, s, new_io, new_s = draw(names(count=4))
        prompt = _prompt(draw, io, s)
        pairs.append((prompt, replace(prompt, io=new_io, s1=new_s, s2=new_s, answers=(new_io, new_s))))
    originals, renamed = zip(*pairs, strict=True)
    return originals, renamed


def _prompt(draw: st.DrawFn, io: str, s: str) -> Prompt:
    template = draw(st.sampled_from(range(len(TEMPLATES))))
    pattern = TEMPLATES[template]
    # Drawn even where the template has no use for it: Hypothesis would shrink to the template with the fewest draws.
    place, thing = draw(st.sampled_from(PLACES)), draw(st.sampled_from(OBJECTS))
    return Prompt(
        template=template,
        pattern=pattern,
        order=draw(st.sampled_from(ORDERS)),
        io=io,
        s1=s,
        s2=s,
        answers=(io, s),
        place=place if "{PLACE}" in pattern else "",
        object=thing if "{OBJECT}" in pattern else "",
    )
