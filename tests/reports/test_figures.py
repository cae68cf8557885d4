"""Every drawing becomes a figure that plotly accepts, with its numbers, and text that plotly cannot take for markup."""

import math

import plotly.graph_objects as go
import pytest
import torch
from pydantic import ValidationError

from lib.judging.drawings import Bars, Edge, Graph, HeadMap, Pattern, Series, Table, bars, head_map
from lib.judging.statistics import exact
from lib.reports.figures import DIVERGING, describe, figure
from tests.support.example_session import SCRIPT, one_of_each
from tests.support.example_session import head_map as example_map

DRAWINGS = [example_map(2.986), *one_of_each()]
ids = pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.kind)


def plain(value):
    """A figure with its variables for colours replaced by one colour, so that plotly can check it."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return "#123456" if isinstance(value, str) and value.startswith("var(") else value


def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@ids
def test_plotly_accepts_the_figure(drawing):
    if isinstance(drawing, Table):
        assert figure(drawing) is None
    else:
        go.Figure(plain(figure(drawing)))


def test_plotly_refuses_a_figure_that_is_wrong():
    wrong = plain(figure(DRAWINGS[0]))
    wrong["data"][0]["zmax"] = "large"
    with pytest.raises(ValueError, match="zmax"):
        go.Figure(wrong)


@ids
def test_no_text_of_a_drawing_is_markup(drawing):
    if not isinstance(drawing, Table):
        texts = strings(figure(drawing))
        assert not any("<script" in text for text in texts)
        assert (SCRIPT in drawing.model_dump_json()) == any("&lt;script" in text for text in texts)


@ids
def test_a_drawing_is_told_in_words(drawing):
    assert describe(drawing).startswith(f"{drawing.title}: ")


def test_the_words_name_size_unit_and_largest_heads():
    words = describe(DRAWINGS[0])
    assert words.startswith("Direct logit attribution by head: 12 layers by 12 heads, in logit difference.")
    assert "Largest: 9.9 +2.99, 10.7 -1.91, 9.6 +1.37" in words


def test_the_colours_of_a_map_are_centred_on_zero():
    [trace] = figure(head_map("A map", "logits", torch.tensor([[2.0, -1.0], [0.0, 0.05]])))["data"]
    assert (trace["zmin"], trace["zmax"]) == (-2, 2)
    assert dict(DIVERGING)[0.5] == "var(--zero)"
    assert trace["text"] == [["+2.00", "-1.00"], ["", ""]]


def test_a_map_of_zeros_can_be_drawn():
    [trace] = figure(head_map("A map", "logits", torch.zeros(2, 3)))["data"]
    assert trace["zmin"] < 0 < trace["zmax"]
    assert describe(head_map("A map", "logits", torch.zeros(2, 3))).endswith("in logits.")


def test_a_word_that_comes_twice_is_two_places():
    pattern = Pattern(title="p", words=[" Mary", " Mary"], weights=[[1.0], [0.2, 0.8]])
    [trace] = figure(pattern)["data"]
    assert len(set(trace["x"])) == 2
    assert trace["z"] == [[1.0, None], [0.2, 0.8]]


def test_bars_keep_their_order_and_their_intervals():
    drawing = next(one for one in DRAWINGS if isinstance(one, Bars))
    drawn = figure(drawing)
    assert drawn["layout"]["xaxis"]["categoryarray"] == ["9.9", "10.7"]
    [error] = drawn["data"][0]["error_y"]["array"]
    assert math.isclose(error, 0.2)


def test_the_strongest_edge_is_the_widest_and_signs_differ_in_colour():
    drawing = next(one for one in DRAWINGS if isinstance(one, Graph))
    lines = [trace["line"] for trace in figure(drawing)["data"] if trace["mode"] == "lines"]
    assert lines[0]["width"] > lines[1]["width"] > lines[2]["width"]
    assert len({line["color"] for line in lines}) == 3


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: head_map("m", "u", torch.zeros(2)), "layer head"),
        (lambda: head_map("m", "u", torch.full((2, 2), torch.nan)), "m: 4 values are not finite"),
        (lambda: HeadMap(title="m", unit="u", values=[[1.0, 2.0], [1.0]]), "one value a head"),
        (lambda: HeadMap(title="m", unit="u", values=[]), "one value a head"),
        (lambda: HeadMap(title="m", unit="u", values=[[math.inf]]), "finite number"),
        (lambda: Pattern(title="p", words=["a", "b"], weights=[[1.0], [1.0]]), "rows of 1 to 2 weights"),
        (lambda: Series(name="s", x=[1.0], y=[]), "1 x, 0 y"),
        (lambda: Table(title="t", columns=["a"], rows=[["b", "c"]]), "one cell for each of the 1 columns"),
        (lambda: Graph(title="g", unit="u", nodes=[], edges=[Edge(source="a", target="b")]), "do not exist: a, b"),
    ],
)
def test_a_drawing_that_is_not_whole_is_refused(build, says):
    with pytest.raises((ValueError, ValidationError), match=says):
        build()


def test_numbers_are_kept_to_four_digits():
    drawing = bars("b", "u", {"a": exact(0.123456)}, {"a": "g"})
    assert (drawing.bars[0].value, drawing.bars[0].group) == (0.1235, "g")


def test_a_map_of_later_layers_calls_them_what_they_are():
    drawing = head_map("copy score", "share", torch.tensor([[0.0, 0.0], [0.0, 0.9]]), first_layer=9)
    assert figure(drawing)["data"][0]["y"] == [9, 10]
    assert "Largest: 10.1 +0.9" in describe(drawing)
