"""Reads DogStatsD's datagrams as strictly as Datadog documents them
(https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/,
https://docs.datadoghq.com/getting_started/tagging/), from the Unix socket that is named first. What
the agent would mend in silence is refused here. What they add up to is in the file that is named
second, as JSON.
"""

import json
import os
import re
import socket
import sys

# Letters, digits, underscores and periods, of which the first is a letter.
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.]{0,199}")
# The same, minuses, colons and slashes; the agent makes underscores of others, and small letters of
# large ones in keys.
TAG = re.compile(r"[a-z][a-z0-9_./-]*:[a-zA-Z0-9_./:-]+")
TAG_CHARACTERS_MAX = 200
KINDS = ("c", "g", "ms", "h", "d", "s")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def metric(line):
    """`NAME:VALUE[:VALUE…]|TYPE[|@RATE][|#TAG,TAG…]`"""
    head, kind, *sections = line.split("|")
    name, *values = head.split(":")
    assert NAME.fullmatch(name), line
    assert values and all(NUMBER.fullmatch(value) for value in values), line
    assert kind in KINDS, line
    rate, tags = 1.0, []
    if sections and sections[0].startswith("@"):
        text = sections.pop(0)[1:]
        assert kind in ("c", "ms", "h", "d") and NUMBER.fullmatch(text), line
        rate = float(text)
        assert 0 < rate <= 1, line
    if sections and sections[0].startswith("#"):
        tags = sections.pop(0)[1:].split(",")
        assert all(TAG.fullmatch(tag) and len(tag) <= TAG_CHARACTERS_MAX for tag in tags), line
        keys = [tag.partition(":")[0] for tag in tags]
        assert len(keys) == len(set(keys)), line
    assert not sections, line
    return name, [float(value) for value in values], kind, rate, tags


def take(line):
    name, values, kind, rate, tags = metric(line)
    key = name + "|" + ",".join(tags)
    if kind == "c":
        seen["counters"][key] = seen["counters"].get(key, 0) + sum(values) / rate
    elif kind == "g":
        seen["gauges"][key] = values[-1]
    else:
        # The agent cuts the number of samples off to an integer.
        seen["distributions"][key] = seen["distributions"].get(key, 0) + int(1 / rate) * len(values)


for refused in (
    "1a:1|c",
    "a b:1|c",
    "a:|c",
    "a:x|c",
    "a:1|k",
    "a:1",
    "a:1|c|@0",
    "a:1|g|@0.5",
    "a:1|c|#",
    "a:1|c|#k",
    "a:1|c|#K:v",
    "a:1|c|#k:v,k:w",
    "a:1|c|#k:v w",
    "a:1|c|#k:v|@0.5",
):
    try:
        metric(refused)
    except (AssertionError, ValueError):
        continue
    sys.exit(f"the grammar has no {refused}")

path, report = sys.argv[1:]
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind(path)
# Whoever writes to it is somebody else.
os.chmod(path, 0o666)
# As the agent does it.
reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
seen = {"datagrams": 0, "longest": 0, "counters": {}, "gauges": {}, "distributions": {}}
while True:
    with open(report + ".new", "w") as file:
        json.dump(seen, file)
    os.rename(report + ".new", report)
    datagram = reader.recv(65536)
    seen["datagrams"] += 1
    seen["longest"] = max(seen["longest"], len(datagram))
    for line in datagram.decode("ascii").removesuffix("\n").split("\n"):
        take(line)
