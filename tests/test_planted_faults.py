"""What `make test-planted` would spoil is still where it looks for it, so that a fault is never left out at night."""

import pytest

from planted_faults import FAULTS, ROOT, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.area)
def test_the_text_to_spoil_is_there_exactly_once(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.old) == 1
    assert fault.old != fault.new
