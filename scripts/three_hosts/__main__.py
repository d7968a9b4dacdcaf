"""`python -m scripts.three_hosts`: coordinator, three organisations and a scoring service on hosts of their own.

Fences of the page name the host: ``console coordinator``; ``members`` and
``everywhere`` stand for several. ``<!-- carried: north:file east:file -->`` is a
file that people hand over. A block after ``<!-- not run: REASON -->`` is skipped,
and the reason printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from scripts.run_examples import prints, transcript
from scripts.three_hosts.hosts import ROOT, Host, enter, has_users, make_hosts

PAGE = ROOT / "docs/how-to/run-across-three-machines.md"
MEMBERS = ("north", "east", "west")
HOSTS = ("coordinator", *MEMBERS, "scoring")
GROUPS = {"members": MEMBERS, "everywhere": HOSTS}
_STEP = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?```console ?(?P<where>\w*)\n(?P<code>.*?)^```$"
    r"|^<!-- carried: (?P<carried>[^\n]+?) -->$",
    re.MULTILINE | re.DOTALL,
)
TABLES = """
import sys, pyarrow.csv
from fedanomaly.datasets import make_payments
payments = make_payments(6_000, 3, random_state=1)
for folder, bank in zip(sys.argv[1:], payments.banks, strict=True):
    rows = payments.split(bank)[0]
    pyarrow.csv.write_csv(rows.select([*payments.features, "fraud"]), f"{folder}/payments.csv")
"""


def steps(text: str) -> Iterator[re.Match[str]]:
    """Yield the blocks of the page and what is carried between them, in their order."""
    yield from _STEP.finditer(text)


def run_block(host: Host, code: str, line: int) -> None:
    """Run a block at a host; what it prints must be what the page says."""
    for command, expected in transcript(code):
        status, printed = host.run(command)
        if status or not prints(printed, expected):
            raise SystemExit(
                f"{PAGE.name}:{line} at {host.name}\n$ {command}\nexpected:\n{expected}\n"
                f"printed (exit status {status}):\n{printed}\n{last_words(host)}"
            )


def last_words(host: Host) -> str:
    """Return the end of what the services of a host have said."""
    return host.run("tail -n 15 /run/*.log 2> /dev/null")[1]


def carry(files: str, hosts: dict[str, Host]) -> None:
    """Hand a file over: the first place to all others."""
    (source, name), *targets = (place.split(":") for place in files.split())
    for target, as_name in targets:
        shutil.copy(hosts[source].desk / name, hosts[target].desk / as_name)


def main() -> None:
    """Make the hosts, run the page."""
    since = time.monotonic()
    hosts = make_hosts(HOSTS)
    subprocess.run([sys.executable, "-c", TABLES, *(str(hosts[name].desk) for name in MEMBERS)], check=True)
    text = PAGE.read_text(encoding="utf-8")
    ran = 0
    for step in steps(text):
        if step["carried"]:
            carry(step["carried"], hosts)
            continue
        line = text.count("\n", 0, step.start("code")) + 1
        if step["reason"]:
            print(f"  not run, line {line}: {step['reason']}", flush=True)
            continue
        for name in GROUPS.get(step["where"], (step["where"],)):
            run_block(hosts[name], step["code"], line)
            print(f"  {name:<12} line {line}", flush=True)
            ran += 1
    users = "as users of their own" if has_users() else "in a user namespace, so as one user"
    print(
        f"three-hosts: {ran} blocks ran on {len(hosts)} hosts in {time.monotonic() - since:.0f} s; services ran {users}"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        main()
    else:
        enter([sys.executable, "-m", "scripts.three_hosts", "inside"])
        print("three-hosts: NOT RUN: this machine allows no network and mount namespaces")
        sys.exit(0 if "CI" in os.environ else 1)  # a machine of this kind is no fault of the change
