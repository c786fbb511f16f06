"""What tests of a card that fails in the middle of a run share, whatever its engine."""

import numpy as np

from imaging.label_maps import read_label_map


def check_the_cpu_went_on(report, engine, reason, outputs, labels):
    """The second case says in one line why the CPU labelled it and the third; all maps are right.

    Args:
        report: Of the run.
        engine: Name of the one that failed.
        reason: What the line has in it.
        outputs: Folder of the maps.
        labels: Of every case.
    """
    assert [case.status for case in report.cases] == ["done"] * 3
    assert [case.engine for case in report.cases] == [engine, "openvino", "openvino"]
    (why,) = report.cases[1].warnings
    assert why.startswith(f"{engine} failed (")
    assert reason in why
    assert why.endswith(" labelled this case instead")
    assert "\n" not in why
    assert not report.cases[0].warnings + report.cases[2].warnings
    check_maps(outputs, labels)


def check_maps(outputs, labels):
    """The maps of all three cases are `labels`."""
    for name in "abc":
        found = read_label_map(outputs / f"{name}.nii.gz").labels
        np.testing.assert_array_equal(found, labels)
