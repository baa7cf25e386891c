//! What the instruments are.

use crate::snapshot::Descriptor;

/// As the conventions advise for both HTTP and RPC.
pub(super) const DURATION_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// From no body, through what fits a packet or two, to what takes a while.
pub(super) const SIZE_BYTES: [f64; 7] = [
    0.0,
    1024.0,
    8192.0,
    65_536.0,
    1_048_576.0,
    16_777_216.0,
    268_435_456.0,
];

/// Those of one direction.
#[derive(Clone, Copy)]
pub(super) struct Descriptors {
    pub(super) duration: Descriptor,
    pub(super) request_body: Descriptor,
    pub(super) response_body: Descriptor,
    pub(super) active: Descriptor,
    pub(super) calls: Descriptor,
}

/// Seen from who answers.
pub(super) const SERVER: Descriptors = Descriptors {
    duration: Descriptor {
        name: "http.server.request.duration",
        unit: "s",
        description: "Time from the head of a request to the end of its response",
    },
    request_body: Descriptor {
        name: "http.server.request.body.size",
        unit: "By",
        description: "Bytes of the bodies of requests",
    },
    response_body: Descriptor {
        name: "http.server.response.body.size",
        unit: "By",
        description: "Bytes of the bodies of responses",
    },
    active: Descriptor {
        name: "http.server.active_requests",
        unit: "{request}",
        description: "Requests under way",
    },
    calls: Descriptor {
        name: "rpc.server.call.duration",
        unit: "s",
        description: "Time from the head of a gRPC call to its status",
    },
};

/// Seen from who asks.
pub(super) const CLIENT: Descriptors = Descriptors {
    duration: Descriptor {
        name: "http.client.request.duration",
        unit: "s",
        description: "Time from the head of a request to the end of its response, with all its tries",
    },
    request_body: Descriptor {
        name: "http.client.request.body.size",
        unit: "By",
        description: "Bytes of the bodies of requests",
    },
    response_body: Descriptor {
        name: "http.client.response.body.size",
        unit: "By",
        description: "Bytes of the bodies of responses",
    },
    active: Descriptor {
        name: "http.client.active_requests",
        unit: "{request}",
        description: "Requests under way",
    },
    calls: Descriptor {
        name: "rpc.client.call.duration",
        unit: "s",
        description: "Time from the head of a gRPC call to its status, with all its tries",
    },
};

pub(super) const RETRIED: Descriptor = Descriptor {
    name: "netting.http.request.retries",
    unit: "{request}",
    description: "Requests sent once more, by why",
};
