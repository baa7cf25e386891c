//! A sidecar as it is injected: its own user, the rules in place, the catalog connected.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    args::Args,
    network::{NODE, Pod},
    process::Process,
};

use super::control_plane;

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15020);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A pod's sidecar.
pub(super) struct Sidecar<'a> {
    pub(super) pod: &'a Pod,
}

impl Sidecar<'_> {
    /// Starts it, and waits until the catalog has welcomed it.
    pub(super) fn start(
        &self,
        args: &Args,
        flags: &[String],
        logs: &Path,
    ) -> anyhow::Result<Process> {
        let user = ["--reuid=4150", "--regid=4150", "--clear-groups"];
        let mut command = self.pod.command(&user);
        command
            .arg(args.optimised.join("netting-sidecar"))
            .arg(format!("--catalog={NODE}:{}", control_plane::GRPC_PORT))
            .args(["--node-name=node", "--pod-namespace=bench"])
            .arg(format!("--pod-name={}", self.pod.name))
            .arg(format!("--worker-threads={}", args.sidecar_threads))
            .args(flags);
        let name = format!("netting-sidecar-{}", self.pod.name);
        let mut sidecar = Process::start(&name, &mut command, logs)?;
        sidecar.wait_until("the catalog's welcome", || {
            let welcomed = &self.config()?["catalog"]["connected"];
            Ok((welcomed == true).then_some(()))
        })?;
        Ok(sidecar)
    }

    /// All of its metrics, as Prometheus gets them.
    pub(super) fn metrics(&self) -> anyhow::Result<String> {
        self.admin("/metrics")
    }

    /// What it holds.
    pub(super) fn config(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.admin("/config")?)?)
    }

    /// That it holds the Service with one endpoint, from the catalog.
    pub(super) fn check_follows_service(&self) -> anyhow::Result<()> {
        let config = self.config()?;
        let destinations = config["destinations"].as_array();
        let services = destinations
            .into_iter()
            .flatten()
            .filter(|destination| destination["kind"] == "service");
        let endpoints = services.filter_map(|service| service["endpoints"].as_array());
        ensure!(
            endpoints.map(Vec::len).eq([1]),
            "the sidecar does not hold one service with one endpoint: {config}"
        );
        Ok(())
    }

    /// That connections took the way through it.
    pub(super) fn check_has_proxied(&self, direction: &str) -> anyhow::Result<()> {
        let metrics = self.admin("/instruments")?;
        let series = format!("netting_tcp_connections_opened_total{{direction=\"{direction}\"}} ");
        let opened = metrics.lines().find_map(|line| line.strip_prefix(&series));
        ensure!(
            opened.is_some_and(|count| count != "0"),
            "no {direction} connection went through the sidecar in {}",
            self.pod.name
        );
        Ok(())
    }

    /// What its admin port answers, asked from within the pod.
    fn admin(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.pod.enter(|| {
            let mut stream = TcpStream::connect_timeout(&ADMIN, ADMIN_TIMEOUT)?;
            stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
            let request = format!("GET {path} HTTP/1.0\r\nhost: admin\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        body.with_context(|| format!("{path} is answered with {answer}"))
    }
}
