//! What happens to connections made in the pod.

use std::net::UdpSocket;
use std::time::Duration;

use crate::pod::{Arrival, Pod, arrival};

const SIDECAR_UID: u32 = 4150;

/// Expects a connection from the pod to arrive at the peer, past the sidecar.
fn goes_to_the_peer(pod: &Pod, addr: &str) {
    let peer = pod.peer.listen(addr);
    let client = pod.ns.connect(addr);
    assert_eq!(arrival(&peer, &client).at, addr);
}

with_each_backend! {
    fn arrive_at_the_sidecar_on_loopback_with_their_destination_remembered(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let sidecar = pod.ns.listen("0.0.0.0:15001");
        let client = pod.ns.connect("10.77.0.1:80");
        let expected = Arrival::new("127.0.0.1:15001", "10.77.0.1:80");
        assert_eq!(arrival(&sidecar, &client), expected);
        let client = pod.ns.connect("192.0.2.1:65535");
        let expected = Arrival::new("127.0.0.1:15001", "192.0.2.1:65535");
        assert_eq!(arrival(&sidecar, &client), expected);

        let sidecar = pod.ns.listen("[::]:15001");
        let client = pod.ns.connect("[fd77::1]:80");
        let expected = Arrival::new("[::1]:15001", "[fd77::1]:80");
        assert_eq!(arrival(&sidecar, &client), expected);
    }

    fn of_the_sidecar_go_where_they_are_meant_to(backend) {
        let pod = Pod::apply_with(backend, &[]);
        for addr in ["10.77.0.1:80", "[fd77::1]:80"] {
            let peer = pod.peer.listen(addr);
            let client = pod.ns.connect_as(SIDECAR_UID, None, addr);
            assert_eq!(arrival(&peer, &client).at, addr);
        }
    }

    fn of_another_sidecar_uid_go_where_they_are_meant_to(backend) {
        let pod = Pod::apply_with(backend, &["--proxy-uid=77"]);
        let peer = pod.peer.listen("10.77.0.1:80");
        let client = pod.ns.connect_as(77, None, "10.77.0.1:80");
        arrival(&peer, &client);
        let sidecar = pod.ns.listen("0.0.0.0:15001");
        let client = pod.ns.connect_as(SIDECAR_UID, None, "10.77.0.1:80");
        arrival(&sidecar, &client);
    }

    fn within_loopback_stay_there(backend) {
        let pod = Pod::apply_with(backend, &[]);
        for addr in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            let application = pod.ns.listen(addr);
            let client = pod.ns.connect(addr);
            assert_eq!(arrival(&application, &client).at, addr);
        }
    }

    /// Once through the sidecar and not twice: the second leg comes in by loopback, where the
    /// inbound rules must not catch it.
    fn to_the_pods_own_address_pass_the_sidecar_once(backend) {
        let pod = Pod::apply_with(backend, &[]);
        for (own, wildcard) in [("10.77.0.2:80", "0.0.0.0"), ("[fd77::2]:80", "[::]")] {
            let sidecar = pod.ns.listen(&format!("{wildcard}:15001"));
            let client = pod.ns.connect(own);
            assert_eq!(arrival(&sidecar, &client).meant_for, own);
            let application = pod.ns.listen(own);
            let from_the_sidecar = pod.ns.connect_as(SIDECAR_UID, None, own);
            assert_eq!(arrival(&application, &from_the_sidecar).at, own);
        }
    }

    fn to_skipped_ports_go_past_the_sidecar(backend) {
        let many: Vec<_> = (0..40).map(|n| (100 + 2 * n).to_string()).collect();
        let flag = format!("--skip-outbound-ports={},8000-8010,9000", many.join(","));
        let pod = Pod::apply_with(backend, &[&flag]);
        for port in [100, 130, 178, 8000, 8005, 8010, 9000] {
            goes_to_the_peer(&pod, &format!("10.77.0.1:{port}"));
            goes_to_the_peer(&pod, &format!("[fd77::1]:{port}"));
        }
        let sidecar = pod.ns.listen("0.0.0.0:15001");
        for port in [99, 101, 7999, 8011, 9001] {
            let client = pod.ns.connect(&format!("10.77.0.1:{port}"));
            arrival(&sidecar, &client);
        }
    }

    fn to_skipped_networks_go_past_the_sidecar(backend) {
        let flag = "--skip-outbound-cidrs=10.77.0.1,fd77::/64,198.51.100.0/24";
        let pod = Pod::apply_with(backend, &[flag]);
        goes_to_the_peer(&pod, "10.77.0.1:80");
        goes_to_the_peer(&pod, "[fd77::1]:80");
        let sidecar = pod.ns.listen("0.0.0.0:15001");
        arrival(&sidecar, &pod.ns.connect("10.77.0.3:80"));
        let sidecar = pod.ns.listen("[::]:15001");
        arrival(&sidecar, &pod.ns.connect("[fd78::1]:80"));
    }

    fn of_other_protocols_are_left_alone(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let peer = pod.peer.within(|| UdpSocket::bind("10.77.0.1:53")).expect("the port is free");
        let client = pod.ns.within(|| UdpSocket::bind("0.0.0.0:0")).expect("some port is free");
        client.send_to(b"query", "10.77.0.1:53").expect("there is a route");
        peer.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        let mut buffer = [0; 16];
        let (bytes, _) = peer.recv_from(&mut buffer).expect("the datagram arrives");
        assert_eq!(&buffer[..bytes], b"query");
    }
}
