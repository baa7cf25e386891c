//! Ports that are left out of the redirection, so that the kubelet goes on reaching the
//! application itself.
//!
//! Who starts before the sidecar can't be asked by it: the kubelet waits for the answer
//! before it starts the sidecar. But it also asks later on, and by then the sidecar
//! would accept for a helper that is long dead. (To `grpc` and `httpGet` the helper
//! answers through the proxy as well, or nobody does.)

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Value, json};

use crate::{
    inject::{containers::SKIP_INBOUND_PORTS, draft::Draft},
    names::{self, SidecarMode},
    options::{PodOptions, PortRange},
    pod::Pod,
};

use super::{
    handler::{Kind, Question},
    place::Site,
};

/// The options, with the ports of `tcpSocket` probes that the kubelet asks while the
/// sidecar doesn't run.
pub(in crate::inject) fn with_direct_ports(pod: &Pod<'_>, chosen: &PodOptions) -> PodOptions {
    let mut chosen = chosen.clone();
    for port in ports(pod, chosen.mode) {
        if !contains(&chosen.skip_inbound_ports, port) {
            chosen.skip_inbound_ports.push(port.into());
        }
    }
    chosen
}

/// Has netting-init leave out those ports too that there are in the draft, and were not
/// when the pod was injected.
pub(in crate::inject) fn skip_more(draft: &mut Draft, mode: SidecarMode) {
    let document = draft.document().clone();
    let Ok(pod) = Pod::read(&document) else {
        return;
    };
    let init = |container: &Value| container["name"] == names::INIT_CONTAINER;
    let containers = document["spec"]["initContainers"].as_array();
    let Some(index) = containers.and_then(|all| all.iter().position(init)) else {
        return;
    };
    let mut at = PointerBuf::from_tokens(["spec", "initContainers"]);
    at.push_back(Token::from(index));
    at.push_back(Token::from("args"));
    let args = document.pointer(at.as_str()).and_then(Value::as_array);
    let Some(args) = args else {
        return;
    };
    let begin = format!("--{SKIP_INBOUND_PORTS}=");
    let list = |arg: &Value| Some(arg.as_str()?.strip_prefix(&begin)?.to_owned());
    let index = args.iter().position(|arg| list(arg).is_some());
    let told = index.and_then(|index| list(&args[index]));
    let mut items: Vec<_> = told.iter().flat_map(|told| told.split(',')).collect();
    let skipped: Vec<PortRange> = items.iter().filter_map(|item| item.parse().ok()).collect();
    let more = ports(&pod, mode).into_iter();
    let more: Vec<_> = more
        .filter(|port| !contains(&skipped, *port))
        .map(|port| port.to_string())
        .collect();
    if more.is_empty() {
        return;
    }
    items.extend(more.iter().map(String::as_str));
    let flag = format!("{begin}{}", items.join(","));
    at.push_back(index.map_or(Token::from("-"), Token::from));
    draft.put(at, json!(flag));
}

fn ports(pod: &Pod<'_>, mode: SidecarMode) -> Vec<u16> {
    let mut ports = Vec::new();
    for site in Site::all(pod, mode) {
        let Some(handler) = site.handler().filter(|_| site.without_sidecar) else {
            continue;
        };
        match Question::read(site.container, site.place, handler, false) {
            Ok(question) if question.kind == Kind::Tcp && !ports.contains(&question.port) => {
                ports.push(question.port);
            }
            _ => {}
        }
    }
    ports
}

fn contains(ranges: &[PortRange], port: u16) -> bool {
    ranges.iter().any(|range| range.contains(port))
}
