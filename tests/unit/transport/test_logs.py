import structlog

from fedanomaly.transport.logs import configure


def test_what_another_party_wrote_does_not_act_on_the_terminal(capsys):
    before = structlog.get_config()
    try:
        configure("text")
        structlog.get_logger().warning("entry-refused", kind="\x1b]0;owned\x07", seq=3)
    finally:
        structlog.configure(**before)

    said = capsys.readouterr().err
    assert "]0;owned" in said
    assert "\x1b]" not in said
    assert "\x07" not in said
