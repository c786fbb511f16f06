"""No character of a table is cut, however wide its columns are."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from imaging.fitted_tables import number_column, show_table

LETTERS = [chr(code) for code in range(0x0410, 0x0450)]  # Cyrillic: each one column wide
CELL = st.tuples(st.integers(1, 130), st.integers(4, 130))
"""How many letters, and after how many a blank follows."""


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    show_table(table, console)
    return console.file.getvalue()


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.booleans(), CELL, CELL), min_size=1, max_size=9),
    st.integers(1, 70),
    st.sampled_from([60, 80, 120]),
)
def test_every_letter_of_every_cell_is_there(columns, first, width):
    table = Table(Column("row"))
    for number, (is_number, *_) in enumerate(columns):
        heading = f"head {number}"
        table.add_column(**_options(number_column(heading) if is_number else Column(heading)))
    lengths = {}
    for row in range(2):
        cells = [Text(f"{row}" * first)]
        for number, column in enumerate(columns):
            letter = LETTERS[2 * number + row]
            count, every = column[1 + row]
            whole = letter * count
            cells.append(" ".join(whole[at : at + every] for at in range(0, count, every)))
            lengths[letter] = count
        table.add_row(*cells)
    found = printed(table, width)
    assert {letter: found.count(letter) for letter in lengths} == lengths
    assert max(map(len, found.splitlines())) <= width


def _options(column):
    return {"header": column.header, "justify": column.justify}


def test_a_number_with_a_long_reason_is_folded_beside_its_row():
    table = Table("figure", number_column("reported"), number_column("ours"), title="split")
    table.add_row("organ DSC, %", "89.63", "86.12  not annotated in every case: " + "spleen, " * 9)
    found = printed(table, 80)
    assert found.count("spleen") == 9
    assert found.count("organ DSC, %") == 1  # one page is enough
