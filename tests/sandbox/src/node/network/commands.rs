//! The `ip` and `iptables` commands that make the network, and how they are run.

use std::net::IpAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::rules::{self, Family};
use super::{Config, POD_GATEWAY_V4, POD_GATEWAY_V6, PodNetwork};

/// Routes of this protocol number are this agent's, and go when it goes.
const ROUTE_PROTOCOL: &str = "117";

/// Between two looks at whether killed processes are gone, and how many there are at most.
const PROCESS_LOOK_AGAIN: Duration = Duration::from_millis(5);
const PROCESS_LOOKS_MAX: usize = 400;

/// Makes the node's interface, and an answer for pod addresses that nobody has (any more): without
/// it, packets to them would leave by the default route.
///
/// The interface is half of a link to itself, because kernels without dummy interfaces have links
/// all the same: pods need them. Nothing is ever sent on it.
pub(super) fn node_links(
    interface: &str,
    config: &Config,
    gateways: &[IpAddr],
    node_addrs: &[IpAddr],
) -> Vec<String> {
    let peer = format!("{interface}-peer");
    let mut commands = vec![
        format!("link add {interface} type veth peer name {peer}"),
        format!("link set {interface} addrgenmode none"),
        format!("link set {peer} addrgenmode none"),
        format!("link set {interface} up"),
        format!("link set {peer} up"),
    ];
    for addr in gateways {
        commands.push(format!(
            "addr add {addr}/{} dev {interface}{}",
            width(*addr),
            nodad(*addr)
        ));
    }
    let asked = [
        config.node_v4.map(IpAddr::from),
        config.node_v6.map(IpAddr::from),
    ];
    for addr in node_addrs
        .iter()
        .filter(|addr| asked.contains(&Some(**addr)))
    {
        if !gateways.contains(addr) {
            commands.push(format!(
                "addr replace {addr}/{} dev {interface}{}",
                width(*addr),
                nodad(*addr)
            ));
        }
    }
    let networks = [
        Some(config.pods_v4.to_string()),
        config.pods_v6.map(|net| net.to_string()),
    ];
    for network in networks.into_iter().flatten() {
        commands.push(format!(
            "route replace unreachable {network} proto {ROUTE_PROTOCOL}"
        ));
    }
    commands
}

/// The node's end of a pod's link.
pub(super) fn pod_link_outside(pod: &PodNetwork, gateways: &[IpAddr]) -> Vec<String> {
    let PodNetwork {
        namespace,
        addrs,
        link,
    } = pod;
    let (outside, inside) = hardware_addrs(addrs);
    let mut commands = vec![
        format!(
            "link add {link} address {outside} type veth peer name eth0 address {inside} netns {namespace}"
        ),
        format!("link set {link} addrgenmode none"),
        format!("link set {link} up"),
    ];
    for (addr, gateway) in addrs.iter().zip(gateways) {
        commands.push(format!(
            "neigh add {addr} lladdr {inside} dev {link} nud permanent"
        ));
        commands.push(format!(
            "route add {addr}/{} dev {link} src {gateway}",
            width(*addr)
        ));
    }
    commands
}

/// The pod's end of its link.
pub(super) fn pod_link_inside(pod: &PodNetwork) -> Vec<String> {
    let (outside, _) = hardware_addrs(&pod.addrs);
    let mut commands = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
    for addr in &pod.addrs {
        let gateway = match addr {
            IpAddr::V4(_) => IpAddr::from(POD_GATEWAY_V4),
            IpAddr::V6(_) => IpAddr::from(POD_GATEWAY_V6),
        };
        commands.push(format!(
            "addr add {addr}/{} dev eth0{}",
            width(*addr),
            nodad(*addr)
        ));
        commands.push(format!(
            "neigh add {gateway} lladdr {outside} dev eth0 nud permanent"
        ));
        commands.push(format!("route add {gateway}/{} dev eth0", width(*addr)));
        commands.push(format!(
            "route add default via {gateway} dev eth0 src {addr}"
        ));
    }
    commands
}

pub(super) fn service_routes(
    interface: &str,
    gateways: &[IpAddr],
    addrs: &[IpAddr],
) -> Vec<String> {
    let route = |addr: &IpAddr| {
        let source = gateways
            .iter()
            .find(|gateway| gateway.is_ipv4() == addr.is_ipv4())?;
        Some(format!(
            "route replace {addr}/{} dev {interface} src {source}",
            width(*addr)
        ))
    };
    addrs.iter().filter_map(route).collect()
}

/// Locally administered, and unique because the pod's address is.
fn hardware_addrs(addrs: &[IpAddr]) -> (String, String) {
    let id = match addrs.first() {
        Some(IpAddr::V4(addr)) => addr.octets(),
        _ => [0; 4],
    };
    let suffix = id.map(|byte| format!("{byte:02x}")).join(":");
    (format!("0a:01:{suffix}"), format!("0a:02:{suffix}"))
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// Duplicate address detection would keep an address unusable for a second.
fn nodad(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "" } else { " nodad" }
}

pub(super) async fn ip(args: &[&str]) -> anyhow::Result<()> {
    run("ip", args, "").await.map(drop)
}

pub(super) async fn ip_output(args: &[&str]) -> anyhow::Result<String> {
    let output = run("ip", args, "").await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) async fn ip_batch(commands: &[String]) -> anyhow::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    run("ip", &["-batch", "-"], &batch(commands))
        .await
        .map(drop)
}

pub(super) async fn ip_batch_in(namespace: &str, commands: &[String]) -> anyhow::Result<()> {
    run(
        "ip",
        &["-netns", namespace, "-batch", "-"],
        &batch(commands),
    )
    .await
    .map(drop)
}

fn batch(commands: &[String]) -> String {
    commands
        .iter()
        .flat_map(|command| [command.as_str(), "\n"])
        .collect()
}

/// The source address of the default route, if there is one.
pub(super) async fn route_source(towards: &str) -> Option<IpAddr> {
    let route = ip_output(&["route", "get", towards]).await.ok()?;
    let mut words = route.split_whitespace().skip_while(|word| *word != "src");
    words.nth(1)?.parse().ok()
}

/// Ends the processes in a pod's namespace, and waits until they are gone: whoever is connected to
/// them is told so by the kernel, as long as there is a way to tell.
pub(super) async fn end_processes(namespace: &str) {
    for _ in 0..PROCESS_LOOKS_MAX {
        let pids = ip_output(&["netns", "pids", namespace]).await;
        let pids = pids.unwrap_or_default();
        if pids.trim().is_empty() {
            return;
        }
        for pid in pids.lines().filter_map(|pid| pid.trim().parse().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            // Whatever has ended by itself is as good.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        }
        tokio::time::sleep(PROCESS_LOOK_AGAIN).await;
    }
    tracing::warn!(namespace, "processes of a pod don't end");
}

pub(super) async fn remove_unreachable() {
    for family in ["-4", "-6"] {
        // There may be none, or no IPv6.
        let _ = ip(&[family, "route", "flush", "proto", ROUTE_PROTOCOL]).await;
    }
}

/// Applies rules of one family as one transaction.
///
/// # Errors
/// When `iptables-restore` refuses them, with what it said.
pub(crate) async fn restore_rules(family: Family, rules: &str) -> anyhow::Result<()> {
    let args = ["--noflush", "--wait", "10"];
    run(family.restore_command(), &args, rules).await.map(drop)
}

/// Removes every rule and chain of the agent's from both families.
pub(super) async fn remove_rules() -> anyhow::Result<()> {
    for family in [Family::V4, Family::V6] {
        let Ok(output) = run(family.save_command(), &[], "").await else {
            // A kernel without IPv6 has no rules for it either.
            continue;
        };
        let saved = String::from_utf8_lossy(&output.stdout);
        let text = rules::removal(&saved);
        if !text.is_empty() {
            restore_rules(family, &text).await?;
        }
    }
    Ok(())
}

async fn run(program: &str, args: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}; is it installed?"))?;
    let mut stdin = child
        .stdin
        .take()
        .context("the command's standard input is a pipe")?;
    // A command that fails early closes its input; what it says then matters more.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child
        .wait_with_output()
        .await
        .with_context(|| format!("wait for {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {}", args.join(" "), said.trim());
    }
    Ok(output)
}
