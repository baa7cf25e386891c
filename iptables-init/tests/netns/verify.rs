//! The proof, which must never say yes where the rules don't work, nor no where they do.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::pod::{Pod, Run, unprivileged_init_command};

fn proves(run: &Run, family: &str, probe: &str, seen_by: &str) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    let line = format!("family={family} probe={probe} seen_by={seen_by} ");
    assert!(
        run.stderr.contains(&line),
        "{line} is not in {}",
        run.stderr
    );
}

/// Verifies, and expects an answer long before TCP itself would give up.
fn verify(pod: &Pod, flags: &[&str]) -> Run {
    let started = Instant::now();
    let run = pod.init(&[&["verify"], flags].concat());
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    run
}

with_each_backend! {
    fn succeeds_where_the_rules_are(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let run = verify(&pod, &[]);
        proves(&run, "ipv4", "192.0.2.1:9", "listener");
        proves(&run, "ipv6", "[2001:db8::1]:9", "listener");
    }

    /// The sidecar binds next, perhaps without SO_REUSEADDR.
    fn leaves_the_port_free(backend) {
        let pod = Pod::apply_with(backend, &[]);
        verify(&pod, &[]);
        for (addr, domain) in [("0.0.0.0:15001", Domain::IPV4), ("[::]:15001", Domain::IPV6)] {
            let addr: std::net::SocketAddr = addr.parse().expect("an address");
            let bound: std::io::Result<TcpListener> = pod.ns.within(|| {
                let socket = Socket::new(domain, Type::STREAM, None)?;
                if addr.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.bind(&addr.into())?;
                Ok(socket.into())
            });
            bound.expect("nothing of the proof is left on the port");
        }
    }

    fn asks_the_socket_table_where_the_sidecar_listens(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let _v4 = pod.ns.listen("0.0.0.0:15001");
        let _v6 = pod.ns.listen("[::]:15001");
        let run = verify(&pod, &[]);
        proves(&run, "ipv4", "192.0.2.1:9", "socket_table");
        proves(&run, "ipv6", "[2001:db8::1]:9", "socket_table");
    }

    fn takes_the_pods_own_address_where_there_is_no_route(backend) {
        let pod = Pod::apply_with(backend, &[]);
        pod.ns.sh("ip route del default; ip -6 route del default");
        let run = verify(&pod, &[]);
        proves(&run, "ipv4", "10.77.0.2:9", "listener");
        proves(&run, "ipv6", "[fd77::2]:9", "listener");
    }

    fn keeps_away_from_what_is_skipped(backend) {
        let flags = [
            "--skip-outbound-cidrs=192.0.2.0/24,198.51.100.0/24,::/0",
            "--skip-outbound-ports=1-100",
        ];
        let pod = Pod::apply_with(backend, &flags);
        let run = verify(&pod, &flags);
        proves(&run, "ipv4", "203.0.113.1:101", "listener");
        let line = "message=\"nothing to verify\" family=ipv6 reason=addresses_skipped";
        assert!(run.stderr.contains(line), "{}", run.stderr);
    }

    fn fails_where_rules_of_others_come_first(backend) {
        let pod = Pod::apply_with(backend, &[]);
        pod.ns.sh(&format!(
            "iptables-{backend} -w -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 7777"
        ));
        let run = verify(&pod, &[]);
        run.fails_saying(&["IPv4 connections are not redirected to port 15001", "did not come back"]);
        let _somebody = pod.ns.listen("127.0.0.1:7777");
        let run = verify(&pod, &[]);
        run.fails_saying(&["192.0.2.1:9 was answered by somebody else"]);
        let _sidecar = pod.ns.listen("0.0.0.0:15001");
        let run = verify(&pod, &[]);
        run.fails_saying(&["192.0.2.1:9 was answered by somebody else", "/proc/net/tcp"]);
    }

    fn fails_where_only_one_family_works(backend) {
        let pod = Pod::apply_with(backend, &[]);
        pod.ns.sh(&format!("ip6tables-{backend} -w -t nat -F OUTPUT"));
        let run = verify(&pod, &[]);
        run.fails_saying(&["IPv6 connections are not redirected", "[2001:db8::1]:9"]);
    }
}

#[test]
fn fails_where_there_are_no_rules() {
    let pod = Pod::new();
    let run = verify(&pod, &[]);
    run.fails_saying(&[
        "IPv4 connections are not redirected to port 15001",
        "192.0.2.1:9",
    ]);
    pod.ns.sh("ip route del default");
    verify(&pod, &[]).fails_saying(&["10.77.0.2:9 did not come back", "refused"]);
}

#[test]
fn a_listener_on_the_port_proves_nothing_without_the_rules() {
    let pod = Pod::new();
    let _sidecar = pod.ns.listen("0.0.0.0:15001");
    verify(&pod, &[]).fails_saying(&["IPv4 connections are not redirected"]);
}

#[test]
fn fails_as_the_user_whose_connections_are_exempt() {
    let pod = Pod::new();
    pod.apply(&["--no-verify"]);
    let everything = ["net_admin", "net_raw"];
    let mut command = unprivileged_init_command(&everything, 4150, &["verify"]);
    pod.ns
        .run(&mut command)
        .fails_saying(&["user 4150", "run verify as another user"]);
    let mut command = unprivileged_init_command(&everything, 65534, &["verify"]);
    assert_eq!(pod.ns.run(&mut command).code, 0);
}

#[test]
fn fails_where_the_pod_has_no_network() {
    let pod = Pod::new();
    pod.ns.sh("ip link del eth0");
    verify(&pod, &[]).fails_saying(&["no address besides loopback"]);
}

#[test]
fn a_pod_of_one_family_is_proven_by_that_one() {
    let pod = Pod::without_ipv6();
    let run = pod.apply(&[]);
    proves(&run, "ipv4", "192.0.2.1:9", "listener");
    assert!(
        run.stderr.contains("family=ipv6 reason=no_address"),
        "{}",
        run.stderr
    );
    let pod = Pod::new();
    pod.ns.sh("ip addr del 10.77.0.2/24 dev eth0");
    let run = pod.apply(&[]);
    proves(&run, "ipv6", "[2001:db8::1]:9", "listener");
    assert!(
        run.stderr.contains("family=ipv4 reason=no_address"),
        "{}",
        run.stderr
    );
}

/// The pod's own addresses are skipped here, so that only addresses beyond the missing route are
/// left to try.
#[test]
fn a_family_in_which_nothing_can_be_reached_holds_nobody_up_unless_it_is_the_only_one() {
    let pod = Pod::new();
    pod.ns.sh("ip -6 route del default");
    let skip = "--skip-outbound-cidrs=10.77.0.0/24,fd77::/64";
    let run = pod.apply(&[skip]);
    proves(&run, "ipv4", "192.0.2.1:9", "listener");
    assert!(
        run.stderr.contains("family=ipv6 reason=unreachable"),
        "{}",
        run.stderr
    );
    pod.ns.sh("ip route del default");
    verify(&pod, &[skip]).fails_saying(&["no connection could be tried", "has the pod any routes"]);
}

#[test]
fn applying_proves_unless_told_not_to() {
    let pod = Pod::new();
    assert!(pod.apply(&[]).stderr.contains("redirection verified"));
    assert!(
        !pod.apply(&["--no-verify"])
            .stderr
            .contains("redirection verified")
    );
    assert!(
        !pod.apply(&["--cleanup"])
            .stderr
            .contains("redirection verified")
    );
}

#[test]
fn the_last_line_says_how_long_it_took() {
    let run = Pod::new().apply(&[]);
    let last = run.stderr.lines().last().unwrap_or_default();
    let (words, elapsed) = last.rsplit_once('=').expect("the line has fields");
    assert_eq!(words, "level=info message=done action=apply elapsed_ms");
    assert!(elapsed.parse::<f64>().is_ok(), "{last}");
}
