//! Envoy as two plain hops: nothing is intercepted, no filter but the router's, no access log, no
//! request ids, one worker.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    args::Args,
    network::{Network, Pod},
    process::Process,
};

/// Port of the hop beside the client, and of that beside the server.
const EGRESS_PORT: u16 = 10_001;
const INGRESS_PORT: u16 = 10_002;
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TYPES: &str = "type.googleapis.com/envoy";

/// Starts a hop in each plain pod. The client is to ask the address returned.
pub(super) fn hops(
    network: &Network,
    nginx: SocketAddr,
    args: &Args,
    logs: &Path,
) -> anyhow::Result<(SocketAddr, [Process; 2])> {
    let egress = SocketAddr::from((LOOPBACK, EGRESS_PORT));
    let ingress = SocketAddr::new(network.plain_server.addr, INGRESS_PORT);
    let application = SocketAddr::from((LOOPBACK, nginx.port()));
    let start = |name, pod, from, to| {
        let hop = Hop { name, from, to };
        hop.start(pod, args, logs)
    };
    let hops = [
        start("envoy-egress", &network.plain_client, egress, ingress)?,
        start("envoy-ingress", &network.plain_server, ingress, application)?,
    ];
    Ok((egress, hops))
}

struct Hop {
    name: &'static str,
    from: SocketAddr,
    to: SocketAddr,
}

impl Hop {
    fn start(&self, pod: &Pod, args: &Args, logs: &Path) -> anyhow::Result<Process> {
        let file = args.scratch.join(format!("{}.json", self.name));
        let configuration = serde_json::to_string_pretty(&self.configuration())?;
        fs::write(&file, configuration).with_context(|| format!("could not write {file:?}"))?;
        let mut command: Command = pod.command(&[]);
        command
            .arg(&args.envoy)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning", "--config-path"])
            .arg(&file);
        let mut envoy = Process::start(self.name, &mut command, logs)?;
        envoy.wait_for_listener(pod, self.from)?;
        Ok(envoy)
    }

    fn configuration(&self) -> Value {
        json!({"static_resources": {"listeners": [self.listener()], "clusters": [self.cluster()]}})
    }

    fn listener(&self) -> Value {
        let routes = json!([{
            "match": {"prefix": "/"},
            "route": {"cluster": "next", "timeout": "0s"},
        }]);
        let connection_manager = json!({
            "@type": format!("{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "hop",
            "codec_type": "AUTO",
            "generate_request_id": false,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": format!("{TYPES}.extensions.filters.http.router.v3.Router")},
            }],
        });
        let filters = json!([{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": connection_manager,
        }]);
        json!({
            "name": self.name,
            "address": socket_address(self.from),
            "filter_chains": [{"filters": filters}],
        })
    }

    /// Speaks what the client speaks, and limits nothing.
    fn cluster(&self) -> Value {
        const LIMIT: u32 = 1_000_000;
        // A new connection may get more than nginx's 128 before nginx has said so, and what is
        // refused then is answered with 503.
        const UPSTREAM_STREAMS: u32 = 100;
        let endpoint = json!({"endpoint": {"address": socket_address(self.to)}});
        let limits = json!({
            "max_connections": LIMIT,
            "max_pending_requests": LIMIT,
            "max_requests": LIMIT,
        });
        let protocol = json!({
            "@type": format!("{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"),
            "use_downstream_protocol_config": {
                "http_protocol_options": {},
                "http2_protocol_options": {"max_concurrent_streams": UPSTREAM_STREAMS},
            },
        });
        json!({
            "name": "next",
            "type": "STATIC",
            "connect_timeout": "10s",
            "circuit_breakers": {"thresholds": [limits]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol,
            },
            "load_assignment": {
                "cluster_name": "next",
                "endpoints": [{"lb_endpoints": [endpoint]}],
            },
        })
    }
}

fn socket_address(addr: SocketAddr) -> Value {
    json!({"socket_address": {"address": addr.ip(), "port_value": addr.port()}})
}
