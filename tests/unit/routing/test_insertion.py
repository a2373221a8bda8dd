"""The start keeps the two least entries of each column of its table while rows of it change: always what a fresh look would find."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing.engines.insertion import IMPOSSIBLE, _Least

ENTRY = st.one_of(st.integers(0, 6), st.just(IMPOSSIBLE))


@given(st.data())
def test_the_two_least_of_each_column_are_kept_while_rows_change(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    row_of = st.lists(ENTRY, min_size=columns, max_size=columns)
    table = np.array(data.draw(st.lists(row_of, min_size=rows, max_size=rows)), dtype=np.int64)
    kept = _Least(table)
    for row, fresh in data.draw(st.lists(st.tuples(st.integers(0, rows - 1), row_of), max_size=8)):
        table[row] = fresh
        kept.changed(row)
        sorted_anew = np.sort(np.vstack([table, np.full(columns, IMPOSSIBLE)]), axis=0)
        assert kept.value.tolist() == sorted_anew[:2].tolist()
