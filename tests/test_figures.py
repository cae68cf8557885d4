import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from lib.figures import describe, head_map_svg
from lib.measurements import HeadMap
from tests.example_session import SCRIPT, example_session

MOST_BYTES = 150_000  # a report with a map for each of a few subjects stays small enough to mail


def head_map(values, title="A map"):
    return HeadMap(test="t", subject="planted", title=title, unit="logits", values=values)


def printed(drawing):
    """The texts of a drawing: matplotlib names each text it outlines in a comment."""
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", drawing, re.DOTALL)]


def cell_colours(drawing, count):
    codes = re.findall(r'style="fill: #([0-9a-f]{6}); stroke: #ffffff', drawing)
    return [bytes.fromhex(code) for code in codes[:count]]


def test_the_map_is_one_labelled_svg_element():
    drawing = head_map_svg(example_session().head_maps[0])
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    texts = printed(drawing)
    assert {"Direct logit attribution by head (planted)", "head", "layer", "logit difference"} <= set(texts)
    assert texts.count("11") == 2  # a tick of each axis


def test_only_the_cells_that_matter_are_printed():
    texts = printed(head_map_svg(head_map([[2.0, -1.0], [0.1, 0.09]])))
    assert {"+2.00", "-1.00", "+0.10"} <= set(texts)
    assert "+0.09" not in texts


def test_no_value_that_matters_is_printed_as_zero():
    texts = printed(head_map_svg(head_map([[0.05, -0.003, 0.0001]])))
    assert {"+0.050", "-0.003"} <= set(texts)
    assert "+300" in printed(head_map_svg(head_map([[300.0, 1.0]])))


def test_colours_are_centred_on_zero_and_turn_with_the_sign():
    positive, negative, nothing, weak = cell_colours(head_map_svg(head_map([[2.0, -1.0], [0.0, 0.4]])), 4)
    assert positive[2] > positive[0]  # more blue than red
    assert negative[0] > negative[2]
    assert max(nothing) - min(nothing) < 8
    assert sum(positive) < sum(weak) < sum(nothing)
    assert sum(positive) < sum(negative)  # half as large, and paler
    assert cell_colours(head_map_svg(head_map([[2.0, -2.0], [0.0, 1.0]])), 2)[0] == positive


def test_a_map_with_every_number_printed_is_still_small():
    values = np.random.default_rng(0).uniform(1, 3, (12, 12)) * np.resize([1, -1], (12, 12))
    drawing = head_map_svg(head_map(values.tolist()))
    assert sum(text.startswith(("+", "-")) for text in printed(drawing)) >= 144
    assert len(drawing.encode()) < MOST_BYTES


def test_a_map_draws_the_same_twice_and_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    first, second = (head_map_svg(example_session().head_maps[0]) for _ in range(2))
    assert first == second
    assert dict(matplotlib.rcParams) == before


def test_a_map_of_zeros_and_a_map_of_another_shape_can_be_drawn():
    assert head_map_svg(head_map([[0.0] * 3] * 2)).startswith("<svg")
    assert "4" in printed(head_map_svg(head_map([[1.0] * 5])))


def test_titles_are_text_not_markup():
    drawing = head_map_svg(head_map([[1.0]], title=rf"{SCRIPT} costs $\no mathematics$"))
    assert "<script" not in re.sub(r"<!--.*?-->", "", drawing, flags=re.DOTALL)


def test_the_words_name_size_unit_and_largest_heads():
    words = describe(example_session().head_maps[0])
    assert words.startswith("Direct logit attribution by head, planted: 12 layers by 12 heads, in logit difference.")
    assert "Largest: 9.9 +2.99, 10.7 -1.91, 9.6 +1.37" in words


@pytest.mark.parametrize("values", [[], [[]], [[1.0, 2.0], [1.0]]])
def test_a_map_without_one_value_a_head_is_refused(values):
    with pytest.raises(ValueError, match="give one value a head"):
        head_map_svg(head_map(values))


def test_a_map_with_a_hole_is_refused():
    with pytest.raises(ValueError, match="'A map' holds values that are not finite"):
        describe(head_map([[1.0, float("nan")]]))
