//! The cluster's names, as programs in pods look them up.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::boxed::{Box, in_a_box, shell, with};

async fn service(boxed: &Box, name: &str, spec: Value) -> Service {
    boxed
        .create(json!({"metadata": {"name": name}, "spec": spec}))
        .await
}

#[test]
fn headless_and_external_services_have_names() {
    in_a_box(&[], async |boxed| {
        let ports = json!([{"name": "sql", "port": 5432}]);
        service(&boxed, "db", json!({"clusterIP": "None", "ports": ports})).await;
        let external =
            json!({"type": "ExternalName", "externalName": "db.default.svc.cluster.local"});
        service(&boxed, "alias", external).await;
        let endpoints = json!([
            {"addresses": ["10.244.0.77"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.0.78"], "hostname": "db-1", "conditions": {"ready": false}}
        ]);
        boxed
            .create::<EndpointSlice>(json!({
                "metadata": {"name": "db-x", "labels": {"kubernetes.io/service-name": "db"}},
                "addressType": "IPv4", "ports": ports, "endpoints": endpoints
            }))
            .await;
        // What was created is known to the node within milliseconds, but not before it is asked.
        let script = "until getent ahostsv4 alias > /dev/null; do :; done
            for name in db db-0.db db.default.svc.cluster.local alias db-1.db example.org; do
                echo $name $(getent ahostsv4 $name | cut -d' ' -f1 | sort -u)
            done";
        let said = boxed
            .output("client", shell("main", script), json!({}))
            .await;
        assert_eq!(
            said,
            "db 10.244.0.77\ndb-0.db 10.244.0.77\ndb.default.svc.cluster.local 10.244.0.77\n\
             alias 10.244.0.77\ndb-1.db\nexample.org\n"
        );
    });
}

#[test]
fn a_pod_may_look_names_up_elsewhere() {
    in_a_box(&[], async |boxed| {
        let config =
            json!({"nameservers": ["10.244.0.1"], "searches": ["default.svc.cluster.local"]});
        let script = "cat /etc/resolv.conf; getent ahostsv4 kubernetes | cut -d' ' -f1 | sort -u";
        let spec = json!({"dnsPolicy": "None", "dnsConfig": config});
        let said = boxed.output("own", shell("main", script), spec).await;
        assert_eq!(
            said,
            "nameserver 10.244.0.1\nsearch default.svc.cluster.local\n10.96.0.1\n"
        );
        let aliases = json!({"hostAliases": [{"ip": "192.0.2.9", "hostnames": ["elsewhere"]}]});
        let script = "getent hosts elsewhere | xargs; getent hosts $HOSTNAME | xargs; hostname";
        let said = boxed.output("alias", shell("main", script), aliases).await;
        assert!(said.starts_with("192.0.2.9 elsewhere\n"), "{said}");
        assert!(said.ends_with(" alias\nalias\n"), "{said}");
    });
}

#[test]
fn datagrams_reach_services_too() {
    in_a_box(&[], async |boxed| {
        let server = r#"exec perl -MIO::Socket::IP -e '
            $s = IO::Socket::IP->new(LocalHost => "::", V6Only => 0, LocalPort => 5353,
                Proto => "udp") or die "$@";
            open $up, ">", "/tmp/up"; close $up;
            while ($from = $s->recv($text, 99)) { $s->send("echo $text", 0, $from) }'"#;
        let probe = json!({"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1});
        let container = with(shell("main", server), json!({"readinessProbe": probe}));
        boxed.run("echo", json!({"containers": [container]})).await;
        let addrs = boxed.ready("echo").await.pod_ips.expect("addresses");
        let ports = json!([{"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"}]);
        let families = json!({"ipFamilyPolicy": "RequireDualStack", "ports": ports});
        let service = service(&boxed, "echo", families).await;
        for (addr, family) in addrs.iter().zip(["IPv4", "IPv6"]) {
            let name = format!("echo-{}", family.to_lowercase());
            let labels = json!({"kubernetes.io/service-name": "echo"});
            boxed
                .create::<EndpointSlice>(json!({
                    "metadata": {"name": name, "labels": labels}, "addressType": family,
                    "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}],
                    "endpoints": [{"addresses": [addr.ip]}]
                }))
                .await;
        }
        let services = service.spec.and_then(|spec| spec.cluster_ips);
        let services = services.expect("addresses");
        assert_eq!(services.len(), 2);
        // By address: the node may not know the Service's name yet, which nobody would ask for twice.
        let script = format!(
            "for addr in {}; do
            until exec 3<>/dev/udp/$addr/53 && echo -n $addr >&3 &&
                answer=$(timeout 1 dd bs=99 count=1 status=none <&3 2>/dev/null); do :; done
            echo ${{answer:0:5}}; done",
            services.join(" ")
        );
        let said = boxed
            .output("client", shell("main", &script), json!({}))
            .await;
        assert_eq!(said, "echo\necho\n");
    });
}
