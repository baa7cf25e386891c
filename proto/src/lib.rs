//! `netting.v1`, the gRPC contract between the catalog and the sidecars.
//!
//! The source is `proto/netting/v1/*.proto`; [`v1`] is generated from it and
//! checked in, so that no build needs `protoc`. `tests/generated.rs` compares the
//! two, and renews the code with `NETTING_UPDATE_GOLDEN=1`.

/// Version 1 of the contract. Fields are only ever added to it.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code: prost documents what the .proto documents, tonic the rest"
)]
#[rustfmt::skip]
#[path = "generated/netting.v1.rs"]
pub mod v1;

mod address;
mod elapsed;

pub use address::{BadAddress, required};
pub use elapsed::since;
