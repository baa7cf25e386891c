//! Everything that runs: nginx in both servers' pods, the control plane on the node, the rules in
//! the meshed pods, and for each scenario fresh proxies.

mod backends;
mod control_plane;
mod envoy;
mod nginx;
mod sidecar;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context as _;

use crate::{
    args::Args,
    network::{self, Network},
    process::Process,
    scenario::Protocol,
    subject::{Kind, Subject},
};

pub(crate) use backends::Backends;
use control_plane::ControlPlane;
use sidecar::Sidecar;

/// The Service that only a sidecar knows how to reach: nothing else routes its address.
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 80));

/// Kept for as long as anything is measured.
pub(crate) struct Testbed {
    network: Network,
    args: Args,
    /// Where all that runs here logs to.
    pub(crate) logs: PathBuf,
    _nginx: [Process; 2],
    _control_plane: ControlPlane,
}

/// A way to nginx through two sidecars.
pub(crate) struct Meshed<'a> {
    pub(crate) subject: Subject<'a>,
    sidecars: [Sidecar<'a>; 2],
}

impl Meshed<'_> {
    /// Asks each sidecar what it tells Prometheus.
    pub(crate) fn scrape(&self) -> anyhow::Result<()> {
        let mut sidecars = self.sidecars.iter();
        sidecars.try_for_each(|sidecar| sidecar.metrics().map(drop))
    }

    /// That every exporter of both sidecars has sent something, and that every backend took what
    /// it was sent: else the cost of something else was measured.
    pub(crate) fn check_exported(&self) -> anyhow::Result<()> {
        for sidecar in &self.sidecars {
            backends::check_sent(&sidecar.config()?["telemetry"]["exporters"])
                .with_context(|| format!("in {}", sidecar.pod.name))?;
        }
        Ok(())
    }
}

/// Ports by protocol: nginx before 1.25 speaks only one of them on each.
struct Ports {
    nginx: u16,
    service: u16,
}

impl Protocol {
    fn ports(self) -> Ports {
        match self {
            Protocol::Http1 => Ports {
                nginx: 8080,
                service: 80,
            },
            Protocol::Http2 => Ports {
                nginx: 8081,
                service: 81,
            },
        }
    }
}

impl Testbed {
    /// Starts what stays.
    pub(crate) fn start(args: &Args) -> anyhow::Result<Self> {
        let logs = args.scratch.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("could not make {logs:?}"))?;
        let network = Network::make().context("could not make the network")?;
        let servers = [&network.plain_server, &network.meshed_server];
        let [plain, meshed] = servers.map(|pod| nginx::start(pod, &args.scratch, &logs));
        let control_plane = ControlPlane::start(args, &logs, network.meshed_server.addr)?;
        for pod in [&network.meshed_client, &network.meshed_server] {
            let init = args.optimised.join("netting-iptables-init");
            network::run(pod.command(&[]).arg(init))?;
        }
        Ok(Self {
            _nginx: [plain?, meshed?],
            _control_plane: control_plane,
            network,
            args: args.clone(),
            logs,
        })
    }

    /// The three subjects, with proxies that have served nobody yet.
    pub(crate) fn subjects(&self, protocol: Protocol) -> anyhow::Result<[Subject<'_>; 3]> {
        let network = &self.network;
        let ports = protocol.ports();
        let nginx = SocketAddr::new(network.plain_server.addr, ports.nginx);
        let direct = Subject {
            kind: Kind::Direct,
            client: &network.plain_client,
            target: nginx,
            proxies: Vec::new(),
        };
        let opaque = format!("--opaque-ports={},{}", ports.service, ports.nginx);
        let flags: &[String] = if self.args.opaque { &[opaque] } else { &[] };
        let netting = self.meshed(protocol, flags)?.subject;
        let (egress, hops) = envoy::hops(network, nginx, &self.args, &self.logs)?;
        let envoy = Subject {
            kind: Kind::Envoy,
            client: &network.plain_client,
            target: egress,
            proxies: hops.into(),
        };
        Ok([direct, netting, envoy])
    }

    /// Two new sidecars with `flags` of their own.
    pub(crate) fn meshed(
        &self,
        protocol: Protocol,
        flags: &[String],
    ) -> anyhow::Result<Meshed<'_>> {
        let network = &self.network;
        let sidecars = [&network.meshed_client, &network.meshed_server].map(|pod| Sidecar { pod });
        let started = sidecars
            .iter()
            .map(|sidecar| sidecar.start(&self.args, flags, &self.logs));
        let subject = Subject {
            kind: Kind::Netting,
            client: &network.meshed_client,
            target: SocketAddr::new(SERVICE, protocol.ports().service),
            proxies: started.collect::<Result<_, _>>()?,
        };
        Ok(Meshed { subject, sidecars })
    }

    /// Something for every exporter to send to.
    pub(crate) fn backends(&self) -> anyhow::Result<Backends> {
        Backends::start(&self.args, &self.logs).context("could not start the backends")
    }

    /// Makes sure that a meshed client's requests took the way that they take in a cluster: by the
    /// catalog's word to an endpoint, and through both sidecars.
    pub(crate) fn check_meshed(&self) -> anyhow::Result<()> {
        let client = Sidecar {
            pod: &self.network.meshed_client,
        };
        let server = Sidecar {
            pod: &self.network.meshed_server,
        };
        client.check_follows_service()?;
        client.check_has_proxied("outbound")?;
        server.check_has_proxied("inbound")
    }
}
