//! The files in a container's `/etc` that the kubelet and the runtime write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt as _;

use super::launcher::Credentials;

/// Where a pod's names are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver<'a> {
    /// The cluster's DNS servers.
    pub(crate) servers: &'a [IpAddr],
    /// Such as `cluster.local`.
    pub(crate) domain: &'a str,
    /// The node's own resolv.conf, for pods that want that.
    pub(crate) node: &'a str,
}

/// Every file, by its name in `/etc`.
pub(crate) fn files(
    pod: &Pod,
    addrs: &[IpAddr],
    credentials: &Credentials,
    resolver: Resolver<'_>,
) -> BTreeMap<String, String> {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let namespace = pod.namespace().unwrap_or_default();
    let files = [
        ("hostname", format!("{}\n", hostname(pod))),
        ("hosts", hosts(pod, spec, addrs, resolver.domain)),
        ("resolv.conf", resolv_conf(spec, &namespace, resolver)),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
        ),
        ("passwd", passwd(credentials)),
        ("group", group(credentials)),
    ];
    files
        .map(|(name, content)| (name.to_owned(), content))
        .into()
}

/// The pod's own name unless it chose another, and the node's in the node's network; the kernel
/// takes no more than 63 characters.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let of_node = spec.filter(|spec| spec.host_network == Some(true));
    let of_node = of_node.and_then(|spec| spec.node_name.clone());
    let chosen = of_node.or_else(|| spec.and_then(|spec| spec.hostname.clone()));
    let mut name = chosen.unwrap_or_else(|| pod.name_any());
    name.truncate(63);
    name.trim_end_matches(['-', '.']).to_owned()
}

fn hosts(pod: &Pod, spec: &PodSpec, addrs: &[IpAddr], domain: &str) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let name = hostname(pod);
    for addr in addrs {
        let _ = match spec.subdomain.as_deref() {
            Some(subdomain) => {
                let namespace = pod.namespace().unwrap_or_default();
                writeln!(
                    text,
                    "{addr}\t{name}.{subdomain}.{namespace}.svc.{domain}\t{name}"
                )
            }
            None => writeln!(text, "{addr}\t{name}"),
        };
    }
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias
            .hostnames
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

/// See <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>.
fn resolv_conf(spec: &PodSpec, namespace: &str, resolver: Resolver<'_>) -> String {
    let host_network = spec.host_network.unwrap_or(false);
    let Resolver {
        servers,
        domain,
        node,
    } = resolver;
    let mut lines = Lines::default();
    match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => (),
        "ClusterFirst" if host_network => lines.read(node),
        "Default" => lines.read(node),
        _ => {
            lines.servers = servers.iter().map(ToString::to_string).collect();
            lines.searches = vec![
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.to_owned(),
            ];
            lines.options = vec!["ndots:5".to_owned()];
        }
    }
    if let Some(config) = &spec.dns_config {
        lines
            .servers
            .extend(config.nameservers.iter().flatten().cloned());
        lines
            .searches
            .extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let prefix = format!("{name}:");
            lines
                .options
                .retain(|known| known != name && !known.starts_with(&prefix));
            lines.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    lines.text()
}

#[derive(Default)]
struct Lines {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Lines {
    fn read(&mut self, file: &str) {
        for line in file.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => self.servers.extend(words),
                Some("search") => self.searches = words.collect(),
                Some("options") => self.options = words.collect(),
                _ => (),
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

fn passwd(credentials: &Credentials) -> String {
    let mut text = String::from(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    );
    if ![0, 65534].contains(&credentials.uid) {
        let Credentials { uid, gid, .. } = credentials;
        let _ = writeln!(text, "container:x:{uid}:{gid}::/:/bin/sh");
    }
    text
}

fn group(credentials: &Credentials) -> String {
    let mut text = String::from("root:x:0:\nnogroup:x:65534:\n");
    if ![0, 65534].contains(&credentials.gid) {
        let _ = writeln!(text, "container:x:{}:", credentials.gid);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NODE: &str = "# by hand\nnameserver 192.0.2.53\nsearch example.org\noptions edns0\n";

    fn made(spec: Value) -> BTreeMap<String, String> {
        let mut pod = json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec});
        pod["spec"]["containers"] = json!([]);
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let credentials = Credentials {
            uid: 4150,
            gid: 7,
            groups: vec![],
            capabilities: None,
            no_new_privileges: false,
        };
        let servers = ["10.244.0.1".parse().expect("an address")];
        let addrs = ["10.244.0.2", "fd00::2"].map(|addr| addr.parse().expect("an address"));
        let resolver = Resolver {
            servers: &servers,
            domain: "cluster.local",
            node: NODE,
        };
        files(&pod, &addrs, &credentials, resolver)
    }

    #[test]
    fn names_are_looked_up_as_the_dns_policy_says() {
        let node = "search example.org\nnameserver 192.0.2.53\noptions edns0\n";
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.244.0.1\noptions ndots:5\n";
        for (spec, expected) in [
            (json!({}), cluster),
            (json!({"hostNetwork": true}), node),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                cluster,
            ),
            (json!({"dnsPolicy": "Default"}), node),
            (json!({"dnsPolicy": "None"}), ""),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"],
                       "searches": ["a.b"], "options": [{"name": "debug"}]}}),
                "search a.b\nnameserver 1.2.3.4\noptions debug\n",
            ),
        ] {
            assert_eq!(made(spec.clone())["resolv.conf"], expected, "{spec}");
        }
        let options = json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}});
        assert!(made(options)["resolv.conf"].ends_with("options ndots:2\n"));
    }

    #[test]
    fn a_pod_knows_its_own_names_and_aliases() {
        let files = made(json!({"hostname": "db", "subdomain": "dbs",
            "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]}));
        assert_eq!(files["hostname"], "db\n");
        for line in [
            "127.0.0.1\tlocalhost\n",
            "10.244.0.2\tdb.dbs.shop.svc.cluster.local\tdb\n",
            "fd00::2\tdb.dbs.shop.svc.cluster.local\tdb\n",
            "192.0.2.7\ta\tb\n",
        ] {
            assert!(files["hosts"].contains(line), "{line}");
        }
    }

    #[test]
    fn the_containers_user_has_a_name() {
        assert!(made(json!({}))["passwd"].contains(":4150:7:"));
        assert!(made(json!({}))["group"].contains(":7:"));
    }
}
