# SPDX-License-Identifier: LGPL-2.1-or-later
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import keeper  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--zoo-table", metavar="FILE", help="write the zoo's table between the markers of FILE")


def pytest_terminal_summary(terminalreporter, config):
    """With --zoo-table: what each exhibit gave."""
    path = config.getoption("--zoo-table", None)
    if not path:
        return
    for name, row in keeper.ROWS.items():
        terminalreporter.write_line(f"{name:<60} {row.outcome:<8} {row.seconds:5.1f} s  {keeper.normal(row.sentence)}")
    keeper.write_table(path)
