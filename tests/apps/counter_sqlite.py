# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes to a SQLite database without end: one row and one update in each transaction."""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma synchronous=off")
db.execute("create table if not exists rows (n integer primary key, text blob)")
db.execute("create table if not exists total (n integer)")
db.execute("insert into total values (0)")
number = 0
with open(sys.argv[2], "w", encoding="ascii") as out:
    while True:
        number += 1
        db.execute("begin")
        db.execute("insert into rows values (?, randomblob(200))", (number,))
        db.execute("update total set n = n + 1")
        db.execute("commit")
        out.write(f"{number}\n")
        out.flush()
