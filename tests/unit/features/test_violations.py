import pyarrow as pa

from fedanomaly.features import Checker, Column, Schema, Window

WINDOW = Window(entity=("card",), time="at", statistics=("count",), spans=("1h",), late="0s")
SCHEMA = Schema((Column(name="amount", kind="numeric", upper=9.0), Column(name="chip", kind="boolean")), (WINDOW,))
GOOD = pa.table(
    {
        "amount": [1.0, 2.0],
        "chip": [True, False],
        "card": ["a", "b"],
        "at": pa.array([10, 20]).cast(pa.timestamp("s")),
    }
)


def found(*tables, first=10):
    checker = Checker(SCHEMA, first=first)
    for table in tables:
        checker.add(table)
    assert checker.n_rows == sum(table.num_rows for table in tables)
    return [(entry.column, entry.what, entry.total, entry.rows) for entry in checker.violations]


def changed(name, values):
    return GOOD.set_column(GOOD.column_names.index(name), name, values)


def test_what_fits_has_no_violation():
    assert found(GOOD, changed("at", GOOD["at"].take([1, 1]))) == []


def test_rows_are_counted_over_all_batches_and_the_first_are_named():
    bad = changed("amount", pa.array([10.0, float("inf")]))
    assert found(GOOD, bad, bad, bad.slice(0, 1), first=2) == [
        ("amount", "holds infinite readings", 2, [3, 5]),
        ("amount", "holds readings outside its bounds", 3, [2, 4]),
        ("at", "goes back by more than 0s", 3, [2, 4]),
    ]


def test_a_column_that_does_not_fit_at_all_names_no_row():
    assert found(GOOD.drop(["chip"]), changed("card", pa.array([[1], [2]]))[:0], GOOD.drop(["chip"])[:1]) == [
        ("chip", "is missing", 3, []),
        ("card", "is text, but holds list<item: int64>", 0, []),
        ("at", "goes back by more than 0s", 1, [2]),
    ]


def test_every_wrong_cell_of_a_text_column_is_found():
    texts = GOOD.set_column(0, "amount", pa.array(["x", "2"])).set_column(1, "chip", pa.array(["yes", "no"]))
    assert found(texts) == [
        ("amount", "is numeric, but holds text", 1, [0]),
        ("chip", "is boolean, but holds text", 2, [0, 1]),
    ]
