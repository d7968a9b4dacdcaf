import pytest
from scripts.fuzz import ended_late, targets

END = """fuzz: elapsed: 9s, execs: 25 (0/sec), new interesting: 2 (total: 4)
--- FAIL: FuzzState (8.86s)
    context deadline exceeded
FAIL
exit status 1
"""
FOUND = """--- FAIL: FuzzState (0.04s)
    --- FAIL: FuzzState (0.00s)
        state_test.go:31: context deadline exceeded

    Failing input written to testdata/fuzz/FuzzState/582528ddfad69eb5
FAIL
"""


def test_a_deadline_that_go_reports_itself_is_no_finding():
    assert ended_late(END)


@pytest.mark.parametrize(
    "output",
    [
        FOUND,
        END + FOUND,
        END + "panic: runtime error\n",
        "--- FAIL: FuzzState (9.00s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\n",
        "FAIL\tfedanomaly/engine/member [build failed]\n",
        "",
    ],
)
def test_everything_else_is_one(output):
    assert not ended_late(output)


def test_every_room_with_a_parser_in_go_has_targets():
    assert {"./manifest", "./member", "./packed", "./scoring"} <= {package for package, _ in targets()}
