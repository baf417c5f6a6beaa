"""The rows that each run of the test suite has; ``python -m tests.faults`` runs the others, too."""

import pytest
from tests.faults.expect import Verdict
from tests.faults.matrix import FIRST, first_rows
from tests.faults.run import run_row, runs_of

ROWS = first_rows()


def cases():
    for id_, row in ROWS.items():
        for mode, variant, order in runs_of(row):
            name = "-".join(filter(None, (id_, mode.letter, variant, order.value)))
            marks = [pytest.mark.faults, getattr(pytest.mark, id_), pytest.mark.timeout(8 * row.seconds + 60)]
            yield pytest.param(row, mode, variant, order, id=name, marks=marks)


@pytest.mark.parametrize(("row", "mode", "variant", "order"), list(cases()))
def test_what_is_accepted_is_delivered_on_disk_or_counted(row, mode, variant, order, tmp_path):
    run = run_row(row, mode, variant, tmp_path, order=order)
    if run.verdict in (Verdict.NOT_RUN, Verdict.SERVER):
        # Neither is a pass: this machine cannot run the row, or its server fails without the handler, too.
        pytest.skip(f"{run.verdict}: {'; '.join(run.reasons)}")
    assert run.verdict is Verdict.OK, str(run) + "\n" + "\n".join(run.reasons)


def test_the_first_forty_rows_are_all_there():
    assert len(FIRST) == 40
    assert set(FIRST) <= ROWS.keys()
