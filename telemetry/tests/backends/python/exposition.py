"""Reads what is scraped from the URL that is named, as strictly as OpenMetrics wants it, with the
parser of Prometheus' own client for Python, which refuses families that occur twice. Prints each
family's name.
"""

import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

request = urllib.request.Request(
    sys.argv[1], headers={"accept": "application/openmetrics-text; version=1.0.0"}
)
with urllib.request.urlopen(request, timeout=30) as answer:
    kind = answer.headers["content-type"]
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    text = answer.read().decode()
for family in text_string_to_metric_families(text):
    print(family.name)
