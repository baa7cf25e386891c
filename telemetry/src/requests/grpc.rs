//! Statuses of gRPC calls
//! (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).

use crate::connections::Direction;

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a code is called. One that is none is treated as gRPC's own clients do.
#[must_use]
pub fn name(code: u32) -> &'static str {
    let index = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(index).copied().unwrap_or("UNKNOWN")
}

/// Whether a call that ended so is a failure: to who called, whenever it is not what was
/// asked for; to who was called, if it is not the caller's doing.
/// <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
#[must_use]
pub fn is_failure(name: &str, direction: Direction) -> bool {
    match direction {
        Direction::Outbound => name != "OK",
        Direction::Inbound => matches!(
            name,
            "UNKNOWN"
                | "DEADLINE_EXCEEDED"
                | "UNIMPLEMENTED"
                | "INTERNAL"
                | "UNAVAILABLE"
                | "DATA_LOSS"
        ),
    }
}
