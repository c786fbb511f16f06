"""Records are read as strictly as their types say, and every complaint names file and key."""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest

from imaging.errors import KitError
from imaging.records import read_record, read_table, to_record, write_json


@dataclass(frozen=True)
class Organ:
    ml: float
    labels: tuple[int, ...] = ()
    side: Literal["left", "right"] | None = None
    grades: tuple[Literal[1, 2], ...] | None = None

    def __post_init__(self):
        if self.ml < 0:
            raise KitError(f"ml is {self.ml}; give 0 or more")


@dataclass(frozen=True)
class Patient:
    name: str
    organs: dict[str, Organ]
    sizes_mm: tuple[float, float] = (1.0, 1.0)
    visits: tuple[dict[str, Organ], ...] = field(default=())
    folder: Path = Path()


WHOLE = {"name": "a", "organs": {"liver": {"ml": 3, "labels": [1, 2]}, "a b": {"ml": 0.5}}}


def test_a_table_becomes_dataclasses():
    found = to_record(WHOLE, Patient, "here")
    assert found == Patient("a", {"liver": Organ(3.0, (1, 2)), "a b": Organ(0.5)})
    assert type(found.organs["liver"].ml) is float


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": 3}, "here: name: expected str, found 3"),
        ({"surname": "b", "age": 3}, "here: unknown keys: age, surname"),
        ({"folder": "/"}, "here: unknown keys: folder"),
        ({"organs": {"a b": {}}}, "here: organs.a b: missing key: ml"),
        ({"organs": {"a b": {"mls": 1}}}, "here: organs.a b: missing key: ml, found 'mls'"),
        ({"organs": {"liver": {"ml": 1}, "a.b": {"ml": "1"}}}, "organs.a.b.ml: expected float, f"),
        ({"organs": {"liver": {"ml": 1, "nl": 1}}}, "here: organs.liver: unknown keys: nl"),
        ({"organs": {"liver": {"ml": -1}}}, "here: ml is -1.0; give 0 or more"),
        ({"sizes_mm": [1.0]}, "here: sizes_mm: expected array of length 2, found [1.0]"),
        ({"sizes_mm": [1, True]}, "here: sizes_mm[1]: expected float, found True"),
        ({"sizes_mm": [1, 10**400]}, "here: sizes_mm[1]: number out of range"),
        (
            {"visits": [{}, {"x": {"ml": 1}, "y": {"ml": 1, "labels": [1, 2.5]}}]},
            "here: visits[1].y.labels[1]: expected int, found 2.5",
        ),
        (
            {"visits": [{"x": {"ml": 1, "side": "up"}}]},
            "here: visits[0].x.side: expected one of 'left', 'right', found 'up'",
        ),
        (
            {"organs": {"liver": {"ml": 1, "grades": [1, 3]}}},
            "here: organs.liver.grades[1]: expected one of 1, 2, found 3",
        ),
        ({"visits": [{"x": {"ml": 1, "nl": 1}}]}, "here: visits[0].x: unknown keys: nl"),
    ],
)
def test_what_is_wrong_is_named_by_its_keys(change, complaint):
    table = WHOLE | change
    before = json.dumps(table)
    with pytest.raises(KitError) as caught:
        to_record(table, Patient, "here", known={"folder": Path("there")})
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert json.dumps(table) == before


def test_a_head_is_checked_and_left_out(tmp_path):
    path = tmp_path / "patient.json"
    head = {"schema": 1, "kind": "patient", "kit": None}
    write_json({"schema": 1, "kind": "patient", "kit": "0.1", **WHOLE}, path)
    assert read_record(path, Patient, "patient", head=head) == to_record(WHOLE, Patient, "")
    for schema in (2, True, 1.0):
        write_json({"schema": schema, "kind": "patient", "kit": "0.1", **WHOLE}, path)
        with pytest.raises(KitError) as caught:
            read_record(path, Patient, "patient", head=head, advice="look again")
        message = f"patient {path}: schema: expected 1, found {schema!r}; look again"
        assert str(caught.value) == message


def test_toml_is_read_by_its_name_with_numbers_as_requested(tmp_path):
    path = tmp_path / "patient.toml"
    path.write_text("ml = 1.50\n")
    assert read_record(path, Organ, "organ") == Organ(1.5)
    assert str(read_table(path, "organ", Decimal)[0]["ml"]) == "1.50"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", b'{"ml": 1, "ml": 2}', "is not JSON: 'ml' is given twice"),
        ("a.json", b"\xff{}", "is not JSON: "),
        ("a.json", b"[1]", "a.json: expected object, found [1]"),
        ("a.toml", b"ml = ", "is not TOML: "),
        ("a.toml", b"ml = 1\nml = 2", "is not TOML: "),
        ("a.toml", None, "cannot read organ "),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, complaint):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KitError) as caught:
        read_record(path, Organ, "organ")
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
