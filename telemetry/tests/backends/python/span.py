"""An application's own span, as an SDK of OpenTelemetry sends it: by OTLP over HTTP to the
first argument, with the trace's id, its own, its parent's (or nothing) and its kind."""

import sys
import time
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

to, trace, own, parent, kind = sys.argv[1:]
now = time.time_ns()
span = Span(
    trace_id=bytes.fromhex(trace),
    span_id=bytes.fromhex(own),
    parent_span_id=bytes.fromhex(parent),
    name="application",
    kind=Span.SpanKind.Value("SPAN_KIND_" + kind),
    start_time_unix_nano=now - 1,
    end_time_unix_nano=now,
)
request = ExportTraceServiceRequest(
    resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])]
)
headers = {"content-type": "application/x-protobuf"}
urllib.request.urlopen(
    urllib.request.Request(to + "/v1/traces", request.SerializeToString(), headers)
)
