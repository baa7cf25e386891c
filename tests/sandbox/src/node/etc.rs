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
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.namespace().unwrap_or_default();
    let Credentials { uid, gid, .. } = credentials;
    let files = [
        ("hostname", format!("{}\n", hostname(pod))),
        ("hosts", hosts(pod, &spec, addrs)),
        ("resolv.conf", resolv_conf(&spec, &namespace, resolver)),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
        ),
        // The first line of an id is the one that counts.
        (
            "passwd",
            format!("root:x:0:0:root:/root:/bin/sh\ncontainer:x:{uid}:{gid}::/:/bin/sh\n"),
        ),
        ("group", format!("root:x:0:\ncontainer:x:{gid}:\n")),
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

fn hosts(pod: &Pod, spec: &PodSpec, addrs: &[IpAddr]) -> String {
    let mut text =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for addr in addrs {
        let _ = writeln!(text, "{addr}\t{}", hostname(pod));
    }
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.clone().unwrap_or_default();
        let _ = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
    }
    text
}

/// See <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>.
fn resolv_conf(spec: &PodSpec, namespace: &str, resolver: Resolver<'_>) -> String {
    let Resolver {
        servers,
        domain,
        node,
    } = resolver;
    let mut text = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => String::new(),
        "Default" => node.to_owned(),
        "ClusterFirst" if spec.host_network == Some(true) => node.to_owned(),
        _ => {
            let servers = servers
                .iter()
                .map(|server| format!("nameserver {server}\n"));
            let search = format!("search {namespace}.svc.{domain} svc.{domain} {domain}\n");
            search + &servers.collect::<String>() + "options ndots:5\n"
        }
    };
    let config = spec.dns_config.clone().unwrap_or_default();
    for server in config.nameservers.into_iter().flatten() {
        let _ = writeln!(text, "nameserver {server}");
    }
    // Of several such lines the last one counts (resolv.conf(5)).
    if let Some(searches) = config.searches {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for option in config.options.into_iter().flatten() {
        let name = option.name.unwrap_or_default();
        let value = option
            .value
            .map(|value| format!(":{value}"))
            .unwrap_or_default();
        let _ = writeln!(text, "options {name}{value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NODE: &str = "nameserver 192.0.2.53\n";

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
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.244.0.1\noptions ndots:5\n";
        let own = json!({"nameservers": ["1.2.3.4"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]});
        for (spec, expected) in [
            (json!({}), cluster),
            (json!({"hostNetwork": true}), NODE),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                cluster,
            ),
            (json!({"dnsPolicy": "Default"}), NODE),
            (
                json!({"dnsPolicy": "None", "dnsConfig": own}),
                "nameserver 1.2.3.4\nsearch a.b\noptions ndots:2\n",
            ),
        ] {
            assert_eq!(made(spec.clone())["resolv.conf"], expected, "{spec}");
        }
    }

    #[test]
    fn a_pod_knows_its_own_name_its_aliases_and_its_user() {
        let alias = json!([{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]);
        let files = made(json!({"hostname": "db", "hostAliases": alias}));
        assert_eq!(files["hostname"], "db\n");
        for line in [
            "127.0.0.1\tlocalhost\n",
            "10.244.0.2\tdb\n",
            "fd00::2\tdb\n",
            "192.0.2.7\ta\tb\n",
        ] {
            assert!(files["hosts"].contains(line), "{line}");
        }
        assert!(files["passwd"].contains(":4150:7:") && files["group"].contains(":7:"));
    }
}
