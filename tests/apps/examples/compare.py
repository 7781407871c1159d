#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""compare.py: does a program, in virtual time, print what a file says?

usage: compare.py PROGRAM FILE
"""

import difflib
import pathlib
import subprocess
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    printed = subprocess.run([sys.argv[1], '--virtual'], text=True, stdout=subprocess.PIPE,
                             timeout=60, check=True).stdout
    expected = pathlib.Path(sys.argv[2]).read_text()
    sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), printed.splitlines(True),
                                               'expected', 'printed'))
    return printed != expected


if __name__ == '__main__':
    sys.exit(main())
