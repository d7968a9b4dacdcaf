from fedanomaly.node.events import CAPACITY, Feed


def test_the_feed_goes_on_after_a_cursor():
    feed = Feed(clock=lambda: 5.0)
    feed.add("join", job=1)
    feed.problem("coordinator-unreachable", retry_after_s=1.0)

    first, second = feed.after(0)
    assert (first.cursor, first.at, first.name, first.details) == (1, 5.0, "join", {"job": 1})
    assert second.details == {"retry_after_s": 1.0, "problem": True}
    assert feed.after(1) == [second]
    assert feed.after(2) == []


def test_only_the_last_events_are_kept_and_cursors_go_on():
    feed = Feed()
    for _ in range(CAPACITY + 5):
        feed.add("join")

    assert [event.cursor for event in feed.after(0)] == list(range(6, CAPACITY + 6))
