from __future__ import annotations

import pytest

from hpa_cells.fields.ome import parse_ome
from hpa_cells.fields.source import UnreadableImageError


def ome(attributes: str) -> str:
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<OME xmlns="{schema}"><Image><Pixels {attributes}/></Image></OME>'


@pytest.mark.parametrize(
    ("attributes", "expected_um"),
    [
        ('PhysicalSizeX="0.08"', 0.08),
        ('PhysicalSizeX="0.08" PhysicalSizeXUnit="µm"', 0.08),
        ('PhysicalSizeX="0.08" PhysicalSizeXUnit="&#956;m"', 0.08),
        ('PhysicalSizeX="80" PhysicalSizeXUnit="nm" PhysicalSizeY="0.08"', 0.08),
        ('PhysicalSizeX="8e-5" PhysicalSizeXUnit="mm"', 0.08),
        ('PhysicalSizeX="8e-8" PhysicalSizeXUnit="m"', 0.08),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel"', None),
        ('SizeC="4"', None),
    ],
)
def test_a_pixel_is_measured_in_um(attributes: str, expected_um: float | None) -> None:
    found_um = parse_ome(ome(attributes)).pixel_size_um
    assert found_um is None if expected_um is None else found_um == pytest.approx(expected_um)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (ome('PhysicalSizeX="0.08" PhysicalSizeXUnit="furlong"'), "'furlong', expected one of"),
        (ome('PhysicalSizeX="0.08" PhysicalSizeY="0.1"'), "0.08 um wide and 0.1 um high"),
        (ome('PhysicalSizeX="0"'), "0 um, expected a positive number"),
        (ome('PhysicalSizeX="nan"'), "nan um, expected a positive number"),
        (ome('PhysicalSizeX="big"'), "PhysicalSizeX is 'big', expected a number"),
        (ome('SizeC="many"'), "SizeC is 'many', expected a number"),
        ("<OME/>", "describe no image"),
        ("hello", "are not XML"),
    ],
)
def test_nonsense_is_refused_with_the_reason(xml: str, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        parse_ome(xml)
    assert reason in str(caught.value)
