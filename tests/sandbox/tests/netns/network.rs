//! Pods, Services and names, in both families.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::boxed::{Box, in_a_box, sharing, shell};
use crate::probes::SERVER;

/// Gets a path from an address or name and prints the last line, or `refused`.
const FETCH: &str = r#"fetch() { (exec 3<>/dev/tcp/$1/$2 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 &&
    tail -n1 <&3) 2>/dev/null || echo refused; }; "#;

/// Pods `a` and `b` that serve HTTP on 8080, and their addresses.
async fn servers(boxed: &Box) -> Vec<Vec<String>> {
    std::fs::write(boxed.shared.join("ok"), "").expect("a file");
    let mut addrs = Vec::new();
    for name in ["a", "b"] {
        let mut container = sharing("main", SERVER);
        container["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
        boxed
            .run(
                name,
                json!({"volumes": [boxed.volume()], "containers": [container]}),
            )
            .await;
    }
    for name in ["a", "b"] {
        let status = boxed.ready(name).await;
        addrs.push(
            status
                .pod_ips
                .expect("addresses")
                .into_iter()
                .map(|ip| ip.ip)
                .collect(),
        );
    }
    addrs
}

fn slice(family: &str, endpoints: &[&str]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|addr| json!({"addresses": [addr], "conditions": {"ready": true}}))
        .collect();
    json!({"metadata": {"name": format!("web-{}", family.to_lowercase()),
                        "labels": {"kubernetes.io/service-name": "web"}},
           "addressType": family, "endpoints": endpoints,
           "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

/// A Service `web` of both families with these endpoints, and its addresses.
async fn service(boxed: &Box, v4: &[&str], v6: &[&str]) -> Vec<String> {
    let spec = json!({"ipFamilyPolicy": "RequireDualStack",
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}]});
    let service = json!({"metadata": {"name": "web"}, "spec": spec});
    let service: Service = boxed.create(service).await;
    boxed.create::<EndpointSlice>(slice("IPv4", v4)).await;
    boxed.create::<EndpointSlice>(slice("IPv6", v6)).await;
    service
        .spec
        .and_then(|spec| spec.cluster_ips)
        .expect("addresses")
}

/// What the node itself is answered: the last line, or why there is none.
type Answer = Result<String, ErrorKind>;

/// Asks from the node itself until the answer is as wanted.
async fn node_gets(addr: &str, port: u16, wanted: impl Fn(&Answer) -> bool) {
    let started = Instant::now();
    loop {
        let answer = tokio::time::timeout(Duration::from_secs(10), get(addr, port)).await;
        let answer = answer.unwrap_or(Err(ErrorKind::TimedOut.into()));
        let answer = answer.map_err(|error| error.kind());
        if wanted(&answer) {
            return;
        }
        assert!(
            started.elapsed().as_secs() < 30,
            "{addr}:{port} answers {answer:?}"
        );
        tokio::task::yield_now().await;
    }
}

async fn get(addr: &str, port: u16) -> std::io::Result<String> {
    ask(TcpStream::connect((addr, port)).await?).await
}

async fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

fn refused(answer: &Answer) -> bool {
    *answer == Err(ErrorKind::ConnectionRefused)
}

fn from(name: &str) -> impl Fn(&Answer) -> bool {
    move |answer| answer.as_ref().is_ok_and(|answer| answer.starts_with(name))
}

#[test]
fn pods_reach_each_other_and_services_by_address_and_name_in_both_families() {
    in_a_box(&[], async |boxed| {
        let addrs = servers(&boxed).await;
        let [a, b] = addrs.as_slice() else {
            panic!("two pods: {addrs:?}")
        };
        let services = service(&boxed, &[&a[0], &b[0]], &[&a[1], &b[1]]).await;
        assert_eq!(services.len(), 2);
        for addr in &services {
            node_gets(addr, 80, Result::is_ok).await;
        }
        let script = format!(
            "{FETCH} for addr in {} {}; do fetch $addr 8080; done
             for addr in {} {} web web.default web.default.svc.cluster.local; do
                 for try in $(seq 40); do fetch $addr 80; done | cut -d' ' -f1 | sort -u | xargs
             done; fetch nobody 80; getent ahosts web | cut -d' ' -f1 | sort -u | wc -l",
            a[0], b[1], services[0], services[1]
        );
        let said = boxed
            .output("client", shell("main", &script), json!({}))
            .await;
        let lines: Vec<&str> = said.lines().collect();
        let own = boxed.api::<Pod>().get("client").await.expect("a pod");
        let own = own
            .status
            .and_then(|status| status.pod_ips)
            .expect("addresses");
        // The servers see the pod itself, as no address is translated on the way to them.
        assert!(
            lines[0].starts_with("a ") && lines[0].ends_with(&own[0].ip),
            "{said}"
        );
        assert_eq!(lines[1], format!("b {}", own[1].ip));
        assert_eq!(lines[2..7], ["a b"; 5], "{said}");
        assert_eq!(lines[7..], ["refused", "2"], "{said}");
    });
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    in_a_box(&[], async |boxed| {
        std::fs::write(boxed.shared.join("ok"), "").expect("a file");
        let services = service(&boxed, &[], &[]).await;
        let script = format!(
            "{FETCH} ({SERVER}) & until test -e /shared/go; do sleep 0.02; done
             for addr in {} {}; do fetch $addr 80 | cut -d' ' -f1; done; kill $!",
            services[0], services[1]
        );
        let spec = json!({"restartPolicy": "Never", "volumes": [boxed.volume()],
                          "containers": [sharing("main", &script)]});
        boxed.run("self", spec).await;
        let has_addrs = |pod: &Pod| pod.status.as_ref().is_some_and(|it| it.pod_ips.is_some());
        let own = boxed
            .pod_is("self", "given addresses", has_addrs)
            .await
            .pod_ips;
        let own = own.expect("addresses");
        for (family, ip) in [("IPv4", &own[0].ip), ("IPv6", &own[1].ip)] {
            let patch = Patch::Merge(json!({"endpoints": slice(family, &[ip])["endpoints"]}));
            let name = format!("web-{}", family.to_lowercase());
            let api = boxed.api::<EndpointSlice>();
            api.patch(&name, &PatchParams::default(), &patch)
                .await
                .expect("patched");
        }
        for addr in &services {
            node_gets(addr, 80, from("self")).await;
        }
        std::fs::write(boxed.shared.join("go"), "").expect("a file");
        boxed.in_phase("self", "Succeeded").await;
        assert_eq!(boxed.logs("self", "main").await, "self\nself\n");
    });
}

#[test]
fn a_service_without_endpoints_refuses_and_changes_are_seen_at_once() {
    in_a_box(&[], async |boxed| {
        let addrs = servers(&boxed).await;
        let services = service(&boxed, &[], &[]).await;
        for addr in &services {
            node_gets(addr, 80, refused).await;
        }
        let patch = Patch::Merge(json!({"endpoints": slice("IPv4", &[&addrs[1][0]])["endpoints"]}));
        let api = boxed.api::<EndpointSlice>();
        let asked = Instant::now();
        api.patch("web-ipv4", &PatchParams::default(), &patch)
            .await
            .expect("patched");
        node_gets(&services[0], 80, from("b")).await;
        let took = asked.elapsed();
        assert!(took.as_millis() < 1000, "{took:?}");
        eprintln!("a new endpoint was reached after {took:?}");
        let old = TcpStream::connect((services[0].as_str(), 80)).await;
        let service = boxed.api::<Service>();
        service
            .delete("web", &DeleteParams::default())
            .await
            .expect("deleted");
        node_gets(&services[0], 80, Result::is_err).await;
        let answer = ask(old.expect("a connection"))
            .await
            .expect("what began before goes on");
        assert!(answer.starts_with('b'), "{answer}");
    });
}

#[test]
fn the_api_is_reached_at_its_service_address_with_the_pods_token() {
    in_a_box(&[], async |boxed| {
        let script = "dir=/var/run/secrets/kubernetes.io/serviceaccount
            ls $dir | xargs; cat $dir/namespace; echo; test -s $dir/token; test -s $dir/ca.crt
            exec 3<>/dev/tcp/kubernetes.default/443 && echo connected";
        let said = boxed
            .output("client", shell("main", script), json!({}))
            .await;
        assert_eq!(said, "ca.crt namespace token\ndefault\nconnected\n");
    });
}

#[test]
fn a_pod_in_the_nodes_network_has_its_addresses() {
    in_a_box(&[], async |boxed| {
        let container = shell(
            "main",
            "ip -brief addr show netting0 | xargs; cat /etc/hostname",
        );
        let said = boxed
            .output("host", container, json!({"hostNetwork": true}))
            .await;
        assert!(
            said.contains("10.244.0.1/32") && said.ends_with("\nbox\n"),
            "{said}"
        );
        let pod = boxed.api::<Pod>().get("host").await.expect("a pod");
        let ip = pod.status.and_then(|status| status.pod_ip);
        assert_eq!(ip.as_deref(), Some("10.244.0.1"));
    });
}

#[test]
fn a_node_without_ipv6_gives_none() {
    in_a_box(&["--no-ipv6"], async |boxed| {
        let container = shell(
            "main",
            "ip -6 -brief addr show dev eth0 scope global | wc -l",
        );
        assert_eq!(boxed.output("four", container, json!({})).await, "0\n");
        let pod = boxed.api::<Pod>().get("four").await.expect("a pod");
        let ips = pod
            .status
            .and_then(|status| status.pod_ips)
            .expect("addresses");
        assert_eq!(ips.len(), 1);
    });
}
