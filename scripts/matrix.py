#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the compatibility tests of the catalogue and writes what came out into docs/images.md, between the markers.

    scripts/matrix.py [-k EXPRESSION]      (FIRN_BUILD as for the tests)
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/images.md"
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->\n"
WAYS = {"test_firn_to_criu": "firn → CRIU", "test_criu_to_firn": "CRIU → firn"}

sys.path.insert(0, str(ROOT / "tests/integration"))
from catalogue import ENTRIES  # noqa: E402


def run(expression):
    """{way: {entry's id: "yes", "no" or "not here"}}"""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        words = f"({' or '.join(WAYS)})" + (f" and ({expression})" if expression else "")
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--junitxml", report,
                               ROOT / "tests/integration/test_compat.py", "-k", words], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"pytest ended with {done.returncode}\n{done.stderr}")
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
        results = {way: {} for way in WAYS}
        for case in cases:
            way, entry = re.match(r"(\w+)\[(.*)\]$", case.get("name")).groups()
            if way in results:
                bad = [c.tag for c in case if c.tag in ("failure", "error", "skipped")]
                results[way][entry] = "yes" if not bad else "not here" if bad == ["skipped"] else "no"
    return results


def cell(entries, results):
    """What of one program goes through: "all", or by name what does not."""
    seen = [(e, results.get(e.id, "")) for e in entries if not e.criu and not e.refused]
    if not seen:
        return "–"
    bad = [f"{' '.join(e.args) or 'it'}: {r or 'not run'}" for e, r in seen if r != "yes"]
    return "; ".join(bad) if bad else "yes" if len(seen) == 1 else f"all {len(seen)}"


def lines(results):
    programs = {}
    for e in ENTRIES:
        programs.setdefault(e.name, []).append(e)
    yield f"| program | {' | '.join(WAYS.values())} | what CRIU 4.1 does not carry |"
    yield "|---|---|---|---|"
    for name, entries in programs.items():
        reasons = {}
        for e in entries:
            if e.criu:
                reasons.setdefault(e.criu, []).append(" ".join(e.args))
        why = "; ".join(f"{', '.join(a for a in args if a)}{': ' if any(args) else ''}{reason}"
                        for reason, args in reasons.items())
        yield f"| `{name}` | {' | '.join(cell(entries, results[w]) for w in WAYS)} | {why} |"
    count = [sum(r == "yes" for r in results[w].values()) for w in WAYS]
    total = [len(results[w]) for w in WAYS]
    yield ""
    yield (f"{count[0]} of {total[0]} from firn to CRIU, {count[1]} of {total[1]} from CRIU to firn; "
           f"{datetime.date.today()}, Linux {platform.release()}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", dest="expression", default="", help="as pytest's, for trying out; nothing is written")
    expression = parser.parse_args().expression
    text = PAGE.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{PAGE}: the markers are missing")
    results = run(expression)
    table = "\n".join(lines(results)) + "\n"
    if expression:
        print(table, end="")
        return
    new = PAGE.with_suffix(".new")
    new.write_text(head + begin + table + end + tail, encoding="utf-8")
    os.replace(new, PAGE)


if __name__ == "__main__":
    main()
