#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_junit.py [--strict] WANTED.xml GOT.xml: do two JUnit files tell the same tests?

Compares testcases as multisets of (classname, name, tags of the children). With --strict also the order, the children's
type and message, and the properties. Addresses, absolute paths and the property that names the host are left out of the comparison.
"""
import argparse
import collections
import re
import sys
import xml.etree.ElementTree as ElementTree

OUTCOME_TAGS = {"failure", "error", "skipped"}
ADDED_PROPERTIES = {"host"}


def neutral(text):
    """What may differ from machine to machine taken out."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x", text or "")
    return re.sub(r"(?<![\w.])/[^\s:'\",]*/", "", text)


def describe(case, strict):
    children = []
    for child in case:
        if child.tag == "properties":
            pairs = [(p.get("name"), p.get("value")) for p in child if p.get("name") not in ADDED_PROPERTIES]
            if strict and pairs:
                children.append(("properties", tuple(pairs)))
        elif strict:
            children.append((child.tag, child.get("type"), neutral(child.get("message"))))
        else:
            children.append(child.tag)
    if not strict:
        children.sort()
    return case.get("classname"), case.get("name"), tuple(children)


def cases(path, strict):
    return [describe(case, strict) for case in ElementTree.parse(path).getroot().iter("testcase")]


def show(cases_of_one, title):
    for case, count in sorted(cases_of_one.items(), key=str)[:20]:
        print(f"  {title} {count} x {case}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("wanted")
    parser.add_argument("got")
    args = parser.parse_args()

    wanted, got = cases(args.wanted, args.strict), cases(args.got, args.strict)
    missing = collections.Counter(wanted) - collections.Counter(got)
    surplus = collections.Counter(got) - collections.Counter(wanted)
    show(missing, "missing")
    show(surplus, "surplus")
    in_order = wanted == got
    if args.strict and not (missing or surplus or in_order):
        first = next(i for i, (a, b) in enumerate(zip(wanted, got)) if a != b)
        print(f"  order differs from testcase {first + 1} on: want {wanted[first]}, got {got[first]}")
    same = not (missing or surplus) and (in_order or not args.strict) and wanted
    print(f"{len(wanted)} testcases wanted, {len(got)} told, {missing.total()} missing, {surplus.total()} surplus")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
