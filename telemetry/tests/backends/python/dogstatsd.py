"""Reads DogStatsD's datagrams as Datadog documents them
(https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/), from the Unix socket
that is named first. What they add up to is in the file that is named second, as JSON.
"""

import json
import os
import re
import socket
import sys

LINE = re.compile(
    r"(?P<name>[a-zA-Z][a-zA-Z0-9_.]*):(?P<values>-?[0-9.]+(:-?[0-9.]+)*)\|(?P<kind>c|g|ms|h|d|s)"
    r"(\|@(?P<rate>[0-9.]+))?(\|#(?P<tags>[^|]+))?"
)

path, report = sys.argv[1:]
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind(path)
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
    for line in datagram.decode().split("\n"):
        match = LINE.fullmatch(line)
        assert match, line
        key = match["name"] + "|" + (match["tags"] or "")
        rate = float(match["rate"] or 1)
        values = [float(value) for value in match["values"].split(":")]
        if match["kind"] == "c":
            seen["counters"][key] = seen["counters"].get(key, 0) + sum(values) / rate
        elif match["kind"] == "g":
            seen["gauges"][key] = values[-1]
        else:
            # The agent cuts the number of samples off to an integer.
            seen["distributions"][key] = seen["distributions"].get(key, 0) + int(1 / rate) * len(values)
