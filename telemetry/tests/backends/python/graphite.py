"""Prints the last value that carbon has written of a series, or nothing. Uses carbon's and
whisper's own code, as Debian installs them for the system's interpreter.
"""

import os
import sys

import whisper
from carbon.util import TaggedSeries

directory, series = sys.argv[1:]
path = os.path.join(directory, TaggedSeries.encode(series, os.sep, hash_only=True) + ".wsp")
if os.path.exists(path):
    _, values = whisper.fetch(path, 0)
    values = [value for value in values if value is not None]
    if values:
        print(values[-1])
