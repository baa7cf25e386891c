//! What happens to connections from outside the pod.

use crate::pod::{Arrival, Pod, arrival};

/// Expects a connection from the peer, from `client` if it matters, to reach the application.
fn reaches_the_application(pod: &Pod, client: Option<&str>, addr: &str) {
    let application = pod.ns.listen(addr);
    let client = pod.peer.connect_as(0, client, addr);
    assert_eq!(arrival(&application, &client).at, addr);
}

with_each_backend! {
    fn arrive_at_the_sidecar_on_the_pods_address_with_their_destination_remembered(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let sidecar = pod.ns.listen("0.0.0.0:15006");
        let client = pod.peer.connect("10.77.0.2:80");
        let expected = Arrival::new("10.77.0.2:15006", "10.77.0.2:80");
        assert_eq!(arrival(&sidecar, &client), expected);

        let sidecar = pod.ns.listen("[::]:15006");
        let client = pod.peer.connect("[fd77::2]:80");
        let expected = Arrival::new("[fd77::2]:15006", "[fd77::2]:80");
        assert_eq!(arrival(&sidecar, &client), expected);
    }

    fn to_the_admin_port_reach_it(backend) {
        let pod = Pod::apply_with(backend, &[]);
        reaches_the_application(&pod, None, "10.77.0.2:15020");
        reaches_the_application(&pod, None, "[fd77::2]:15020");
        let pod = Pod::apply_with(backend, &["--admin-port=9"]);
        reaches_the_application(&pod, None, "10.77.0.2:9");
    }

    fn to_skipped_ports_go_past_the_sidecar(backend) {
        let flag = "--skip-inbound-ports=22,9090-9099";
        let pod = Pod::apply_with(backend, &[flag]);
        for port in [22, 9090, 9099] {
            reaches_the_application(&pod, None, &format!("10.77.0.2:{port}"));
            reaches_the_application(&pod, None, &format!("[fd77::2]:{port}"));
        }
        let sidecar = pod.ns.listen("0.0.0.0:15006");
        for port in [21, 23, 9089, 9100] {
            arrival(&sidecar, &pod.peer.connect(&format!("10.77.0.2:{port}")));
        }
    }

    fn from_skipped_networks_go_past_the_sidecar(backend) {
        let flag = "--skip-inbound-cidrs=10.77.0.8/29,fd77::8/125";
        let pod = Pod::apply_with(backend, &[flag]);
        pod.peer.sh("ip addr add 10.77.0.9/24 dev eth0");
        pod.peer.sh("ip -6 addr add fd77::9/64 dev eth0 nodad");
        reaches_the_application(&pod, Some("10.77.0.9"), "10.77.0.2:80");
        reaches_the_application(&pod, Some("fd77::9"), "[fd77::2]:80");
        let sidecar = pod.ns.listen("0.0.0.0:15006");
        arrival(&sidecar, &pod.peer.connect_as(0, Some("10.77.0.1"), "10.77.0.2:80"));
        let sidecar = pod.ns.listen("[::]:15006");
        arrival(&sidecar, &pod.peer.connect_as(0, Some("fd77::1"), "[fd77::2]:80"));
    }

    /// The sidecar's connection to the application would not pass such a rule any more.
    fn that_others_translate_stay_theirs(backend) {
        let pod = Pod::new();
        let rule = "PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080";
        pod.ns.sh(&format!("iptables-{backend} -w -t nat -A {rule}"));
        pod.apply(&["--no-verify"]);
        let application = pod.ns.listen("10.77.0.2:8080");
        let client = pod.peer.connect("10.77.0.2:80");
        assert_eq!(arrival(&application, &client).meant_for, "10.77.0.2:80");
    }
}
