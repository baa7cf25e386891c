//! What a sidecar tells at its admin port's `/config`. A sidecar of another version may
//! tell less, which is then at its default, or more, which is kept for whoever wants
//! all of it.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Its build.
    pub version: String,
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its zone; empty if not known.
    pub zone: String,
    /// Since it started.
    pub uptime_seconds: u64,
    /// Its stream.
    pub catalog: Catalog,
    /// The addresses that its application uses.
    pub destinations: Vec<Destination>,
}

/// The stream to the catalog.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Catalog {
    /// `host:port`.
    pub address: String,
    /// Whether there is one.
    pub connected: bool,
    /// For how long.
    pub connected_seconds: Option<u64>,
}

/// One address, and what is behind it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Destination {
    /// `ip:port`.
    pub address: String,
    /// `service`, `workload`, `unknown` or `waiting`.
    pub kind: String,
    /// Of the service or pod.
    pub namespace: String,
    /// Of the service or pod.
    pub name: String,
    /// Of the service's port.
    pub port_name: String,
    /// What Kubernetes objects say of the protocol; empty if nothing.
    pub protocol_hint: String,
    /// What the sidecar makes of that: `opaque` or `client_first`.
    pub hint: Option<String>,
    /// Only endpoints on the sidecar's own node are used.
    pub node_local: bool,
    /// `any`, `same_zone` or `same_node`.
    pub prefer: String,
    /// How long the pod is kept at one endpoint.
    pub session_affinity_seconds: Option<u64>,
    /// How the service wants to be treated.
    pub policy: serde_json::Value,
    /// Requests that wait for an answer.
    pub requests_waiting: usize,
    /// All of them, usable or not.
    pub endpoints: Vec<Endpoint>,
}

/// One ip:port behind an address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Endpoint {
    /// `ip:port`.
    pub address: String,
    /// `namespace/name`; empty if not known.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its zone.
    pub zone: String,
    /// Whether its pod has a sidecar.
    pub meshed: bool,
    /// Ready for connections.
    pub ready: bool,
    /// Able to serve.
    pub serving: bool,
    /// Shutting down.
    pub terminating: bool,
    /// `unused`, `used` or `preferred`; empty if the sidecar doesn't say.
    pub standing: String,
    /// Share relative to the others.
    pub weight: u32,
    /// From this sidecar, now.
    pub connections_open: u64,
    /// From this sidecar, so far.
    pub connections_total: u64,
    /// From this sidecar, so far.
    pub connect_failures_total: u64,
    /// From this sidecar, now.
    pub requests_open: u64,
    /// From this sidecar, so far.
    pub requests_total: u64,
    /// How long a connect takes.
    pub connect_ms: Option<f64>,
    /// How long a response takes.
    pub response_ms: Option<f64>,
    /// How long it is still ejected.
    pub ejected_for_ms: Option<u64>,
    /// Zones whose traffic is meant for it.
    pub for_zones: Vec<String>,
    /// Nodes whose traffic is meant for it.
    pub for_nodes: Vec<String>,
}

impl Config {
    /// What is held of an address.
    #[must_use]
    pub fn destination(&self, address: &str) -> Option<&Destination> {
        self.destinations.iter().find(|one| one.address == address)
    }
}

impl Destination {
    /// `shop/echo:http`, `pod shop/web-1`, or the address itself.
    #[must_use]
    pub fn title(&self) -> String {
        let Self {
            namespace,
            name,
            port_name,
            address,
            ..
        } = self;
        match self.kind.as_str() {
            "service" if port_name.is_empty() => format!("{namespace}/{name}"),
            "service" => format!("{namespace}/{name}:{port_name}"),
            "workload" => format!("pod {namespace}/{name}"),
            _ => address.clone(),
        }
    }
}

impl Endpoint {
    /// Whether connections may go there now, as far as the sidecar tells.
    #[must_use]
    pub fn is_used(&self) -> bool {
        match self.standing.as_str() {
            "" => self.ready && !self.terminating,
            standing => standing != "unused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_does_not_tell_is_left_at_its_default() {
        let old = r#"{"version": "0.0.9", "destinations": [
            {"address": "10.96.0.7:80", "kind": "service", "namespace": "shop", "name": "echo",
             "endpoints": [{"address": "10.0.0.7:8080", "ready": true, "new_field": 7}]},
            {"address": "1.2.3.4:443", "kind": "unknown"}]}"#;
        let config: Config = serde_json::from_str(old).expect("it can be read");
        let echo = config.destination("10.96.0.7:80").expect("it is held");
        assert_eq!(echo.title(), "shop/echo");
        assert!(echo.endpoints[0].is_used());
        assert_eq!(config.destinations[1].title(), "1.2.3.4:443");
        assert!(config.destination("10.96.0.7:81").is_none());
    }
}
