"""Rows of files: JSON, JSON lines and CSV give the same ones, as many programs write them; each fault has a line."""

import json

import pytest

from ioi_fixtures.sentences.file_rows import read_rows

ROWS = [{"prompt": "At dawn, they met", "io": "Mary"}, {"prompt": 'He said "no" to', "io": "Anna"}]
CSV = 'prompt,io\n"At dawn, they met",Mary\n"He said ""no"" to",Anna\n'
TEXTS = {
    "list": json.dumps(ROWS),
    "indented list": json.dumps(ROWS, indent=2),
    "object": json.dumps({"prompts": ROWS}),
    "lines": "\n".join(map(json.dumps, ROWS)),
    "blank lines": "\n\n" + "\n\n".join(map(json.dumps, ROWS)) + "\n\n",
    "CSV": CSV,
    "CSV with blank lines": "\n" + CSV.replace("\n", "\n\n"),
    "CSV with a space in its header": CSV.replace("prompt,io", "prompt, io"),
    "semicolons": CSV.replace(",M", ";M").replace(",A", ";A").replace("t,i", "t;i"),
    "tabs": CSV.replace(",M", "\tM").replace(",A", "\tA").replace("t,i", "t\ti"),
}


def rows_of(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return read_rows(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", TEXTS)
def test_every_syntax_gives_the_same_rows(tmp_path, name, end, encoding):
    rows = rows_of(tmp_path / "prompts", TEXTS[name].replace("\n", end), encoding)
    assert [row for _, row in rows] == ROWS


def test_places_are_lines_of_the_file(tmp_path):
    text = 'prompt,io\n"two\nlines",Mary\n\nx,Anna\n'
    assert [place for place, _ in rows_of(tmp_path / "prompts.csv", text)] == ["line 2", "line 5"]
    assert [place for place, _ in rows_of(tmp_path / "prompts.jsonl", '\n{"a": 1}\n\n{"a": 2}')] == ["line 2", "line 4"]
    assert [place for place, _ in rows_of(tmp_path / "prompts.json", '[\n\n{"a": 1}]')] == ["row 1"]


@pytest.mark.parametrize("index", ["", "index", "Unnamed: 0", "__index_level_0__"])
def test_the_index_that_pandas_writes_out_is_no_column(tmp_path, index):
    text = f"{index},prompt,io\n0,x,Mary\n1,y,Anna\n"
    assert [row for _, row in rows_of(tmp_path / "prompts.csv", text)] == [
        {"prompt": "x", "io": "Mary"},
        {"prompt": "y", "io": "Anna"},
    ]
    assert rows_of(tmp_path / "prompts.json", json.dumps([{index: 0, "io": "Mary"}])) == [("row 1", {"io": "Mary"})]


def test_lists_and_objects_in_cells_are_read_as_json_and_python_write_them(tmp_path):
    for answers in ('"["" Mary""]"', "[' Mary']"):
        [(_, row)] = rows_of(tmp_path / "prompts.csv", f"clean,answers\nx,{answers}\n")
        assert row == {"clean": "x", "answers": [" Mary"]}
    flat = "prompt,metadata.subject,metadata.indirect_object\nx,John,Mary\n"
    [(_, row)] = rows_of(tmp_path / "prompts.csv", flat)
    assert row == {"prompt": "x", "metadata": {"subject": "John", "indirect_object": "Mary"}}


def test_an_empty_cell_is_a_key_that_the_row_does_not_have(tmp_path):
    rows = rows_of(tmp_path / "prompts.csv", "prompt,template\nx,3\ny,\n")
    assert [row for _, row in rows] == [{"prompt": "x", "template": "3"}, {"prompt": "y"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"io": "Mary"}\n{"io": "Ren\xe9"}', r"line 2 is not UTF-8 text \(byte 0xe9\): save the file as UTF-8"),
        (b"prompt,io\nx,Ren\xe9", r"line 2 is not UTF-8 text \(byte 0xe9\)"),
        ('{"io": "Mary"}'.encode("utf-16"), "line 1 is not UTF-8 text"),
        (b"PAR1\x15\x00\x80\xff", "line 1 is not UTF-8 text .* as JSON lines or CSV"),
        (b'{"io": "Mary"}\n{oops}', "line 2 is not JSON"),
        (b"prompt,io\nx,Mary\ny\n", "line 3 has 1 cells, but the header has 2"),
        (b"prompt,io\nx,Mary,Anna\n", "line 2 has 3 cells, but the header has 2"),
        (b'prompt,io\nx,Mary\n"y,Anna\n', "line 3 is not CSV"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, content, says):
    (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"prompts.txt: {says}"):
        read_rows(tmp_path / "prompts.txt")
