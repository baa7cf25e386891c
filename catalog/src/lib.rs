//! Cluster state to sidecar streams: watches the API server, keeps one index, serves it over gRPC and HTTP.
