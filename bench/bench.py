#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures firn against Debian trixie's CRIU, in turn, in one run: the median of several rounds.

Everything runs in a mount namespace of its own with a tmpfs on /run (where CRIU keeps what it probed of the kernel between
runs, as on any installed system) and a tmpfs for the images."""

import argparse
import datetime
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "integration"))

import firn_harness as h  # noqa: E402

# name, arguments of bench/target, the most that firn may take of CRIU's time for dump and restore
CASES = [
    ("4 MiB", ("memory", "4"), 0.3),
    ("64 MiB", ("memory", "64"), 1.0),
    ("1024 MiB", ("memory", "1024"), 1.0),
    ("1,000 threads", ("threads", "1000"), 1.0),
    ("200 processes", ("processes", "200"), 1.0),
    ("10,000 descriptors", ("descriptors", "10000"), 1.0),
]
FIGURES = ("dump", "frozen", "restore")


def in_own_mounts():
    if os.environ.get("FIRN_BENCH_MOUNTED") != "1":
        os.environ["FIRN_BENCH_MOUNTED"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    for path in ("/run", "/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "bench", path], check=True)


def one_round(engine, arguments, folder):
    """One dump that kills, one restore: seconds each."""
    work = folder / "work"
    images = folder / "images"
    for path in (work, images):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    w = h.Workload(work, [h.BUILD / "bench" / "target", work, *arguments])
    try:
        h.wait_for(lambda: (work / "ready").exists() or w.poll() is not None, "the target", 60)
        assert w.poll() is None, w.output()
        # no log: writing it is not what is measured
        dump = h.run([*engine.command, "dump", "-t", w.pid, "-D", images, "-o", "/dev/null"], timeout=120)
        assert dump.ok, dump
        h.wait_for(lambda: w.poll() is not None, "its end", 60)
        h.wait_for(lambda: all(h.gone(p) for p in h.children(os.getpid())), "the end of all", 60)
        frozen = engine.frozen_seconds(images)
        restore = h.run([*engine.command, "restore", "-D", images, "-d", "-o", "/dev/null"], timeout=120)
        assert restore.ok, restore
        w.process, w.exit_code = None, None
        (work / "trigger").touch()
        h.wait_for(lambda: w.poll() is not None, lambda: f"its end\n{h.describe(w.pid)}", 60)
        assert w.exit_code == 0, f"{engine.name}: the restored target ended with {w.exit_code}\n{w.output()}"
        size = sum(p.stat().st_size for p in images.iterdir() if p.suffix == ".img")
        return {"dump": dump.seconds, "frozen": frozen, "restore": restore.seconds}, size
    finally:
        w.end()
        h.end_strays()
        shutil.rmtree(folder, ignore_errors=True)


def measure(engines, arguments, rounds):
    """{engine: {figure: [seconds]}}: the engines take turns, each has one round before that does not count."""
    folder = pathlib.Path("/tmp/firn-bench")
    times = {e.name: {f: [] for f in FIGURES} for e in engines}
    failed = {}
    for i in range(rounds + 1):
        for engine in engines:
            if engine.name in failed:
                continue
            try:
                result, _ = one_round(engine, arguments, folder)
            except AssertionError as e:
                failed[engine.name] = str(e)
                h.debug(f"{engine.name} {arguments}: {str(e)[:3000]}")
                continue
            if i:
                for f in FIGURES:
                    times[engine.name][f].append(result[f])
    return times, failed


def cell(values):
    return f"{statistics.median(values) * 1000:.1f}" if values else "—"


def table(results):
    lines = ["| | " + " | ".join(f"{f}: firn | CRIU | ratio" for f in FIGURES) + " |",
             "|---|" + "---:|---:|---:|" * len(FIGURES)]
    for name, times, failed, limit in results:
        row = [name]
        for f in FIGURES:
            ours, theirs = times["firn"][f], times.get("criu", {}).get(f, [])
            ratio = statistics.median(ours) / statistics.median(theirs) if ours and theirs else None
            mark = "" if ratio is None or ratio <= (limit if f != "frozen" else 1.0) else " ✗"
            row += [cell(ours), cell(theirs), f"{ratio:.2f}{mark}" if ratio is not None else "—"]
        lines.append("| " + " | ".join(row) + " |")
    notes = [f"\n{name}: {engine} failed." for name, _, failed, _ in results for engine in failed]
    return "\n".join(lines) + "\n" + "\n".join(notes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", metavar="FILE", help="write the table there as well")
    parser.add_argument("--only", help="cases whose name contains this")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the benchmark needs root")
    in_own_mounts()
    h.become_subreaper()
    engines = [h.Firn()]
    if h.Criu.missing():
        h.debug(h.Criu.missing())
    else:
        engines.append(h.Criu())
    results = []
    for name, arguments, limit in CASES:
        if args.only and args.only not in name:
            continue
        h.debug(f"{name} …")
        times, failed = measure(engines, arguments, args.rounds)
        results.append((name, times, failed, limit))
    text = table(results)
    print(text)
    if args.write:
        cpu = next((line.split(":", 1)[1].strip() for line in h.read_text("/proc/cpuinfo").splitlines()
                    if line.startswith("model name")), platform.machine())
        peer = subprocess.run([*engines[-1].command, "--version"], capture_output=True, text=True, check=False).stdout
        peer = peer.split("\n")[0].replace("Version: ", "") if len(engines) > 1 else "none"
        pathlib.Path(args.write).write_text(f"""# Benchmarks

`make bench` measures firn against CRIU {peer} (Debian trixie), in turn, in one run: milliseconds, the median of
{args.rounds} rounds each. A dump kills the tree, a restore is detached. Images lie on tmpfs; logs go to `/dev/null`; CRIU's cache of
what the kernel offers is warm. "frozen" is how long the tree stood still, as each engine says in its `stats-dump`. A
ratio below 1 means that firn took less time; ✗ marks what is above the aim.

{text}
Measured {datetime.date.today()} on {cpu}, {os.cpu_count()} processors, Linux {platform.release()}.
""")


if __name__ == "__main__":
    main()
