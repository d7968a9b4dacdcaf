import contextlib
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from fedanomaly.errors import KeystoreError, NotFoundError
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.registry import Contents, Registry, Snapshot


def snapshot(name, generation, **changes):
    fields = {
        "name": name,
        "generation": generation,
        "folder": f"{generation}",
        "schema": "{}",
        "schema_digest": bytes(32),
        "rows": 10,
        "holdout_rows": 1,
        "label": None,
        "content": bytes(32),
        "files": {},
        "added_at": 0.0,
    }
    return Snapshot(**(fields | changes))


def crash_in(registry, rows):
    """Leave a change in the middle."""
    with contextlib.suppress(RuntimeError), registry.changing() as contents:
        contents.generation_of(rows)
        raise RuntimeError


@pytest.fixture
def registry(tmp_path, keystore):
    return Registry(tmp_path, keystore)


def test_a_new_registry_is_empty(registry):
    assert registry.read() == Contents()


def test_what_was_added_is_there_for_the_next_reader(registry, tmp_path, keystore):
    with registry.changing() as contents:
        contents.snapshots.append(snapshot("payments", contents.generation_of(b"rows")))

    assert Registry(tmp_path, keystore).newest("payments").generation == 1


def test_the_newest_snapshot_of_a_name_is_used(registry):
    with registry.changing() as contents:
        contents.snapshots += [snapshot("a", 1), snapshot("b", 2), snapshot("a", 3)]

    assert registry.newest("a").generation == 3


def test_an_unknown_name_is_said_with_what_to_do(registry):
    with pytest.raises(NotFoundError) as caught:
        registry.newest("payments")

    assert "fedanomaly data add payments" in (caught.value.hint or "")


def test_an_error_inside_leaves_the_old_list(registry):
    with registry.changing() as contents:
        contents.generation_of(b"rows")

    crash_in(registry, b"more rows")

    assert registry.read().counter == 1


def test_the_list_shows_nothing_on_the_disk(registry, tmp_path):
    with registry.changing() as contents:
        contents.snapshots.append(snapshot("payments", 1, label="is_fraud"))

    raw = (tmp_path / "registry.sealed").read_bytes()
    assert b"payments" not in raw
    assert b"is_fraud" not in raw


def test_a_changed_list_is_not_believed(registry, tmp_path):
    with registry.changing() as contents:
        contents.generation_of(b"rows")
    path = tmp_path / "registry.sealed"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)

    with pytest.raises(KeystoreError):
        registry.read()


def test_the_list_of_another_node_is_not_believed(registry, tmp_path, other_keystore):
    with registry.changing() as contents:
        contents.generation_of(b"rows")

    with pytest.raises(KeystoreError):
        Registry(tmp_path, other_keystore).read()


def test_a_list_of_another_version_is_refused(registry):
    with registry.changing() as contents:
        contents.version = 2

    with pytest.raises(KeystoreError, match="another version"):
        registry.read()


def test_writers_wait_for_each_other(registry, tmp_path, keystore):
    def add(number):
        with Registry(tmp_path, keystore).changing() as contents:
            contents.generation_of(bytes([number]))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    contents = registry.read()
    assert sorted(contents.generations.values()) == list(range(1, 13))


class Generations(RuleBasedStateMachine):
    """Over any history, crashes included: one number for the same rows, never for others."""

    rows = Bundle("rows")
    folder: str
    keystore: Keystore

    def __init__(self):
        super().__init__()
        import tempfile
        from pathlib import Path

        self.temporary = tempfile.TemporaryDirectory()
        self.registry = Registry(Path(self.temporary.name), KEYSTORE)
        self.told = {}

    def teardown(self):
        self.temporary.cleanup()

    @rule(target=rows, content=st.binary(min_size=1, max_size=2))
    def draw(self, content):
        return content

    @rule(content=rows, name=st.sampled_from(["a", "b"]))
    def add(self, content, name):
        with self.registry.changing() as contents:
            generation = contents.generation_of(content)
            contents.snapshots.append(snapshot(name, generation))
        assert self.told.setdefault(content, generation) == generation

    @rule(content=rows)
    def crash(self, content):
        crash_in(self.registry, content)

    @rule(name=st.sampled_from(["a", "b"]))
    def forget_old_snapshots(self, name):
        with self.registry.changing() as contents:
            contents.snapshots = [entry for entry in contents.snapshots if entry.name != name]

    @invariant()
    def numbers_are_unique_and_positive(self):
        assert len(set(self.told.values())) == len(self.told)
        assert all(generation > 0 for generation in self.told.values())
        assert self.registry.read().counter == len(self.told)


KEYSTORE = Keystore(bytes(32), bytes(range(32)))
TestGenerations = Generations.TestCase
TestGenerations.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
