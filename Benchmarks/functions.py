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

    def add(self, records, requests):
        """Adds what one event loop has done."""
        for place, caller, callee, calls, cost in records:
            if callee:
                self.calls[caller][callee] += calls / requests
                self.called[callee] += calls / requests
            elif ".so" not in place:
                self.cost[caller] += cost / requests
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


def read(path):
    """What one of callgrind's dumps says: the object and the function, the function called and how often or `None`, and the
    instructions. Names stand in full where they are first used.
    """
    names, places = {}, {}
    place, caller, callee, calls = "", None, None, 0
    with open(path, errors="replace") as file:
        for line in file:
            if match := re.match(r"(c?)(fn|ob)=\((\d+)\)(?: (.*))?", line):
                known = names if match[2] == "fn" else places
                if match[4] is not None:
                    # Symbols carry a version, recursive calls a count.
                    known[match[3]] = re.split(r"[@']", match[4].strip())[0] if known is names else match[4].strip()
                if known is places:
                    place = place if match[1] else places[match[3]]
                elif match[1]:
                    callee = names[match[3]]
                else:
                    caller, callee = names[match[3]], None
            elif match := re.match(r"calls=(\d+)", line):
                calls = int(match[1])
            elif match := re.match(r"[+\-*\d]\S* (\d+)", line):
                yield place, caller, callee, calls, int(match[1])
                callee = None


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
