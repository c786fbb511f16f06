"""Names and colours of the labels for ITK-SNAP (Segmentation > Import Label Descriptions)."""

from pathlib import Path

from imaging.files import replacing
from inference.outputs.names import ITK_SNAP
from inference.outputs.segments import LabelledCase

_HEAD = """\
################################################
# ITK-SnAP Label Description File
# Columns: label, red, green, blue (0..255), opacity (0..1), shown, shown in 3D, name
################################################
"""


def write_label_descriptions(case: LabelledCase, outputs: Path) -> tuple[str, ...]:
    """Write itk_snap_labels.txt; every case of a run has the same labels.

    Raises:
        KitError: The file cannot be written.
    """
    rows = [(0, (0, 0, 0), 0, "background")]
    rows += [(one.value, one.rgb, 1, one.name.replace('"', "'")) for one in case.segments]
    lines = [
        f'{value:5} {red:5} {green:4} {blue:4} {shown:8} {shown:2} {shown:2}    "{name}"\n'
        for value, (red, green, blue), shown, name in rows
    ]
    with replacing(outputs / ITK_SNAP) as partial:
        partial.write_text(_HEAD + "".join(lines), encoding="utf-8")
    return ()
