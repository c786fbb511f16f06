"""Maps of cases that are not of a run."""

from pathlib import Path

from imaging.left_over import left_over, left_over_message


def test_maps_of_other_cases_are_found_in_order(tmp_path):
    for name in ("b.nii.gz", "a.nii.gz", "mine.nii.gz", ".c.nii.gz", "run.json", "d.nrrd"):
        (tmp_path / name).touch()
    assert left_over(tmp_path, ".nii.gz", ["mine"]) == ("a", "b")
    assert left_over(tmp_path, ".nii.gz", ["mine"], [tmp_path / "b.nii.gz"]) == ("a",)


def test_one_line_names_ten_at_most():
    assert left_over_message(["a"], Path("out"), "without a truth") == (
        "out also holds maps of 1 case without a truth: a"
    )
    many = left_over_message([f"c{n:02}" for n in range(12)], Path("out"), "of others")
    assert many.startswith("out also holds maps of 12 cases of others: c00, c01")
    assert many.endswith("c09, 2 more")
