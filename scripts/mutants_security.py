"""Take each defence out in turn, and see a test turn red: `make mutants-security`.

The list is `tests/mutants/*.toml`: a defence, the text that is its code, what
stands there without it, and the tests that must notice. First these tests must
pass as they are; then, defence by defence, in copies of the tree, at least one
of them must fail. A copy that does not even compile, or a test that is not
found, proves nothing and counts as a failure of this run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "tests" / "mutants"
COPIED = ("src", "engine", "tests", "scripts", "docs", "pyproject.toml", "README.md", "SECURITY.md")
TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One replacement in one file; the old text stands there exactly once."""

    file: str
    old: str
    new: str

    @contextmanager
    def applied(self, tree: Path) -> Iterator[None]:
        """Make the replacement for a while."""
        path = tree / self.file
        before = path.read_text(encoding="utf-8")
        if before.count(self.old) != 1:
            raise LookupError(f"{self.file} holds the text of the defence {before.count(self.old)} times, not once")
        path.write_text(before.replace(self.old, self.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Defence:
    """One defence and the tests that must notice that it is gone."""

    name: str
    rule: str
    says: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def load() -> list[Defence]:
    """Return all defences, in the order of the lists."""
    found = []
    for path in sorted(LISTS.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["defence"]:
            edits = [Edit(file=entry["file"], old=entry["old"], new=entry["new"])]
            if "also" in entry:
                edits.append(Edit(**entry["also"]))
            head = {key: entry[key] for key in ("name", "rule", "says")}
            found.append(Defence(**head, edits=tuple(edits), tests=tuple(entry["tests"])))
    return found


@dataclass(frozen=True)
class Verdict:
    """How the tests of one defence ended."""

    red: tuple[str, ...]
    trouble: str = ""


def table(defences: list[Defence]) -> str:
    """Return the list as SECURITY.md shows it."""
    rows = []
    for entry in defences:
        names = dict.fromkeys(re.split(r"::|:", test)[-1].partition("[")[0] for test in entry.tests)
        rows.append(f"| {entry.rule} | {entry.says} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(["| rule | defence | red without it |", "|---|---|---|", *rows]) + "\n"


def judge(tree: Path, tests: tuple[str, ...], *, first: bool) -> Verdict:
    """Run tests in a copy of the tree, perhaps up to the first that fails; Go tests are written package:Name."""
    red: list[str] = []
    for names, run in ((_python(tests), _pytest), (_go(tests), _go_test)):
        if names:
            verdict = run(tree, names, first)
            if verdict.trouble:
                return verdict
            red += verdict.red
    return Verdict(tuple(red))


def _python(tests: tuple[str, ...]) -> list[str]:
    return [test for test in tests if not test.startswith("engine/")]


def _go(tests: tuple[str, ...]) -> list[str]:
    return [test for test in tests if test.startswith("engine/")]


def _pytest(tree: Path, names: list[str], first: bool) -> Verdict:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "--no-header", *names]
    command += ["-x"] if first else []
    done = _run(command, tree, {"PYTHONPATH": str(tree / "src")})
    if done.returncode not in {0, 1}:
        return Verdict((), f"pytest ended with {done.returncode}: {_end(done.stdout)}")
    lines = done.stdout.splitlines()
    return Verdict(tuple(line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))))


def _go_test(tree: Path, names: list[str], first: bool) -> Verdict:
    red: list[str] = []
    for package in sorted({name.partition(":")[0] for name in names}):
        wanted = [name.partition(":")[2] for name in names if name.partition(":")[0] == package]
        pattern = [f"-run=^({'|'.join(wanted)})$"] if all(wanted) else []
        pattern += ["-failfast"] if first else []
        command = ["go", "test", "-count=1", "-short", *pattern, "./" + package.removeprefix("engine/")]
        done = _run(command, tree / "engine", {})
        failed = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("--- FAIL:")]
        panicked = "panic: " in done.stdout
        if done.returncode and not (failed or panicked):
            return Verdict((), f"go test ended without a verdict: {_end(done.stdout + done.stderr)}")
        if "[no tests to run]" in done.stdout:
            return Verdict((), f"no such test in {package}")
        red += [f"{package}:{name}" for name in failed] or ([f"{package}:panic"] if panicked else [])
    return Verdict(tuple(red))


def _run(command: list[str], folder: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "FEDANOMALY_DATA": _data(), **extra}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        # A defence without which a test never ends was noticed as well.
        return subprocess.CompletedProcess(command, 1, "FAILED timeout\n--- FAIL: timeout", "")


def _data() -> str:
    return os.environ.get("FEDANOMALY_DATA", str(ROOT.parent / "shared" / "data"))


def _end(text: str) -> str:
    return " ".join(text.split())[-300:]


def _copies(folder: Path, count: int) -> SimpleQueue[Path]:
    trees: SimpleQueue[Path] = SimpleQueue()
    for number in range(count):
        tree = folder / str(number)
        tree.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, tree / name)
        trees.put(tree)
    return trees


def main() -> int:
    """Run the list, or the defences whose names are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="defences to take out; all, if none is named")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies of the tree to work in")
    parser.add_argument("--table", action="store_true", help="print the list as SECURITY.md shows it, and do no more")
    options = parser.parse_args()
    if options.table:
        print(table(load()), end="")
        return 0
    defences = [entry for entry in load() if not options.names or entry.name in options.names]
    if not defences:
        parser.error("no such defence")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = _copies(Path(folder), options.jobs)
        tests = tuple(dict.fromkeys(test for entry in defences for test in entry.tests))
        print(f"{len(tests)} tests as they are", flush=True)
        tree = trees.get()
        baseline = judge(tree, tests, first=False)
        trees.put(tree)
        if baseline.red or baseline.trouble:
            print(f"these fail before anything is taken out: {baseline.trouble or ', '.join(baseline.red)}")
            return 1

        def without(entry: Defence) -> Verdict:
            tree = trees.get()
            try:
                with _all_applied(entry.edits, tree):
                    return judge(tree, entry.tests, first=True)
            except LookupError as error:
                return Verdict((), str(error))
            finally:
                trees.put(tree)

        survived = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for entry, verdict in zip(defences, pool.map(without, defences), strict=True):
                survived += not verdict.red
                told = verdict.trouble or (f"red: {len(verdict.red)}, {verdict.red[0]}" if verdict.red else "SURVIVES")
                print(f"{'ok  ' if verdict.red else 'FAIL'} {entry.rule:20} {entry.name:32} {told}", flush=True)
    print(f"{len(defences)} defences taken out, {len(defences) - survived} noticed")
    return 1 if survived else 0


@contextmanager
def _all_applied(edits: tuple[Edit, ...], tree: Path) -> Iterator[None]:
    if not edits:
        yield
        return
    with edits[0].applied(tree), _all_applied(edits[1:], tree):
        yield


if __name__ == "__main__":
    sys.exit(main())
