# SPDX-License-Identifier: Apache-2.0
"""Which functions of the program its event loops run through for a request, as callgrind's dumps say it, and the order
in which the linker is to place them: next to each other, callees behind their callers (docs/decisions/0018).
"""
import collections
import glob
import os
import re
import shutil

import stand

ORDER = os.path.join(os.path.dirname(stand.HERE), "Sources", "claude", "functions.order")
# Functions of fewer requests than one in so many are left where they are.
SELDOM = 20


class Functions:
    def __init__(self):
        # All for one request. Of which callers to which callees, of which functions, and which of the program's own.
        self.calls = collections.defaultdict(collections.Counter)
        self.called = collections.Counter()
        self.cost = collections.Counter()
        self.roots = set()

    def add(self, path, requests):
        """Adds what one event loop has done. Names stand in full where they are first used."""
        names, objects = {}, {}
        caller = callee = thing = None
        is_call = False
        with open(path, errors="replace") as file:
            for line in file:
                if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
                    if match[3] is not None:
                        # Symbols carry a version, recursive calls a count.
                        names[match[2]] = re.split(r"[@']", match[3].strip())[0]
                    if match[1]:
                        callee = names[match[2]]
                    else:
                        caller = names[match[2]]
                elif match := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
                    if match[3] is not None:
                        objects[match[2]] = match[3].strip()
                    if not match[1]:
                        thing = objects[match[2]]
                elif match := re.match(r"calls=(\d+)", line):
                    self.calls[caller][callee] += int(match[1]) / requests
                    self.called[callee] += int(match[1]) / requests
                    is_call = True
                elif match := re.match(r"[+\-*\d]\S* (\d+)", line):
                    if not is_call and thing and ".so" not in thing:
                        self.cost[caller] += int(match[1]) / requests
                    is_call = False
        self.roots |= {name for name in self.cost if "PollLoop" in name and name not in self.called}

    def order(self, names):
        """Depth first, the most frequent callee next to its caller."""
        found = []
        waiting = sorted(self.roots)
        seen = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in names and (name in self.roots or self.called[name] * SELDOM >= 1):
                found.append(name)
            waiting.extend(sorted(self.calls[name], key=lambda callee: (self.calls[name][callee], callee)))
        return found

    def share(self, names):
        """Of the program's own instructions, those in the functions named; `None` for a program without symbols."""
        total = sum(self.cost.values())
        if sum(cost for name, cost in self.cost.items() if name.startswith("0x")) * 2 > total:
            return None
        return sum(cost for name, cost in self.cost.items() if name in names) / max(1, total)


def ordered():
    """What the last build was told."""
    with open(ORDER) as file:
        return file.read().split()


def placeable(binary):
    """The functions that the linker can place one by one: they have a section of their own, wherever they are defined. A
    section of many functions would come as a whole.
    """
    objects = glob.glob(os.path.join(os.path.dirname(binary), "*.build", "**", "*.o"), recursive=True)
    toolchain = os.path.dirname(os.path.realpath(shutil.which("swiftc")))
    objects.append(os.path.join(toolchain, "..", "lib", "swift_static", "linux", "libswiftCore.a"))
    alone, together = set(), set()
    for index in range(0, len(objects), 200):
        listing = stand.output("objdump", "-t", *objects[index:index + 200])
        for section, name in re.findall(r"^[0-9a-f]{16} [^\t]* (\.text\S*)\t\S+ +(?:\.\w+ )?(\S+)$", listing, re.M):
            if section == ".text." + name:
                alone.add(name)
            elif section == ".text":
                together.add(name)
    return alone - together
