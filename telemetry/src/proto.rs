//! Protocols of others: OTLP, and Prometheus' remote write.
//!
//! Generated from `telemetry/proto/` and checked in, so that no build needs `protoc`.
//! `tests/generated.rs` compares the two, and renews the code with
//! `NETTING_UPDATE_GOLDEN=1`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code, which has the docs that the .proto has"
)]

/// OTLP 1, <https://opentelemetry.io/docs/specs/otlp/>. The modules are nested as the
/// code's own paths want them.
pub mod opentelemetry {
    pub mod proto {
        pub mod common {
            pub mod v1 {
                include!("generated/opentelemetry.proto.common.v1.rs");
            }
        }
        pub mod resource {
            pub mod v1 {
                include!("generated/opentelemetry.proto.resource.v1.rs");
            }
        }
        pub mod metrics {
            pub mod v1 {
                include!("generated/opentelemetry.proto.metrics.v1.rs");
            }
        }
        pub mod trace {
            pub mod v1 {
                include!("generated/opentelemetry.proto.trace.v1.rs");
            }
        }
        pub mod logs {
            pub mod v1 {
                include!("generated/opentelemetry.proto.logs.v1.rs");
            }
        }
        pub mod collector {
            pub mod metrics {
                pub mod v1 {
                    include!("generated/opentelemetry.proto.collector.metrics.v1.rs");
                }
            }
            pub mod trace {
                pub mod v1 {
                    include!("generated/opentelemetry.proto.collector.trace.v1.rs");
                }
            }
            pub mod logs {
                pub mod v1 {
                    include!("generated/opentelemetry.proto.collector.logs.v1.rs");
                }
            }
        }
    }
}

/// Remote write 1.0, <https://prometheus.io/docs/specs/prw/remote_write_spec/>.
pub mod prometheus {
    include!("generated/prometheus.rs");
}
