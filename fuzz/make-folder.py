#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make-folder.py IMAGES SAMPLE [--kinds]: makes an input of fuzz_folder.c out of a folder of images; with --kinds one of
fuzz_kinds.c, which has the open files of the root task alone."""

import pathlib
import struct
import sys

sys.path.insert(0, "/usr/lib/python3/dist-packages")
import pycriu  # noqa: E402

TREE = ("core-", "ids-", "mm-", "pagemap-", "pages-", "pstree", "inventory", "ipcns", "seccomp", "timens", "firn.")


def main():
    images, sample, kinds = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), "--kinds" in sys.argv
    with open(images / "pstree.img", "rb") as f:
        root = pycriu.images.load(f)["entries"][0]["pid"]
    with open(images / f"ids-{root}.img", "rb") as f:
        table = pycriu.images.load(f)["entries"][0]["files_id"]
    names = {f"fdinfo-{table}.img": "fdinfo-1.img", f"fs-{root}.img": "fs-1.img"}
    out = b""
    for path in sorted(images.glob("*.img")):
        name, data = path.name, path.read_bytes()
        if kinds:
            if name.startswith(TREE) or (name.startswith(("fdinfo-", "fs-")) and name not in names):
                continue
            name = names.get(name, name)
        if name.startswith("ghost-file"):
            data = data[:400]
        if name.startswith("pages-"):
            data = struct.pack("<Q", len(data))
        out += name.encode() + b"\n" + struct.pack("<I", len(data)) + data
    sample.write_bytes(out)


if __name__ == "__main__":
    main()
