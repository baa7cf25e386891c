//! Where connections go.

use std::net::SocketAddr;

use netting_sidecar::reason::Reason;

use super::*;
use crate::{
    explain::connection::{Known, Owner, explain, reasons},
    sidecar::Config,
};

/// A pod with a sidecar whose rules leave some alone.
fn client() -> Pod {
    parse(json!({"metadata": {"namespace": "shop", "name": "web-1"},
        "spec": {
            "initContainers": [
                {"name": "netting-init", "args": ["--outbound-port=15001", "--skip-outbound-ports=3306,8000-8010", "--skip-outbound-cidrs=192.168.0.0/16"]},
                {"name": "netting-sidecar", "env": [{"name": "NETTING_OPAQUE_PORTS", "value": "5432"}]}],
            "containers": [{"name": "app"}]},
        "status": {"podIPs": [{"ip": "10.0.0.5"}]}}))
}

fn config(connected: bool) -> Config {
    let endpoint = |address: &str, standing: &str, ready: bool, ejected: Option<u64>| {
        json!({"address": address, "pod": "shop/echo-1", "zone": "z1", "standing": standing, "ready": ready,
               "ejected_for_ms": ejected, "response_ms": 2.5})
    };
    let service = |address: &str, hint: Value, endpoints: Value| {
        json!({"address": address, "kind": "service", "namespace": "shop", "name": "echo", "port_name": "http",
               "protocol_hint": "http", "hint": hint, "prefer": "same_zone", "endpoints": endpoints})
    };
    parse(
        json!({"zone": "z1", "node": "node-1", "catalog": {"address": "netting-catalog:15010", "connected": connected},
        "destinations": [
            service("10.96.0.7:80", json!("client_first"), json!([
                endpoint("10.0.0.7:80", "preferred", true, None), endpoint("10.0.0.8:80", "used", true, Some(1500)),
                endpoint("10.0.0.9:80", "unused", false, None)])),
            service("10.96.0.8:80", Value::Null, json!([endpoint("10.0.0.9:80", "unused", false, None)])),
            service("10.96.0.9:5432", json!("opaque"), json!([endpoint("10.0.0.9:80", "used", true, None)])),
            {"address": "1.2.3.4:443", "kind": "unknown"},
            {"address": "1.2.3.5:443", "kind": "waiting"}]}),
    )
}

fn ask(target: &str, owner: &Owner, config: Result<&Config, &str>) -> Explanation {
    let target: SocketAddr = target.parse().expect("an address");
    explain(&Known {
        pod: &client(),
        not_injected: None,
        target,
        asked_as: "what was asked",
        of_addresses: 1,
        owner,
        config,
        catalog: None,
    })
}

fn service() -> Owner {
    Owner::Service {
        namespace: "shop".to_owned(),
        name: "echo".to_owned(),
        port: Some("http".to_owned()),
        node_local: false,
    }
}

fn assert_goes(target: &str, owner: &Owner, config: &Config, reason: &str, says: &str) {
    let explained = ask(target, owner, Ok(config));
    assert_eq!(explained.reason, reason, "{target}");
    let verdict = &explained.verdict;
    assert!(verdict.contains(says), "{target}: {verdict}");
}

#[test]
fn what_is_no_services_has_a_reason_of_its_own_for_where_it_goes() {
    for (target, reason, says) in [
        ("127.0.0.1:80", "loopback", "never gets to the sidecar"),
        ("10.0.0.9:3306", "skipped_port", "directly"),
        ("10.0.0.9:8005", "skipped_port", "directly"),
        ("192.168.7.7:80", "skipped_cidr", "directly"),
        ("10.0.0.5:8080", "own_address", "passes it through"),
        ("10.0.0.5:15020", "own_port", "refuses"),
        ("1.2.3.4:443", "unknown_address", "passes it through"),
        ("1.2.3.5:443", "catalog_silent", "passes it through"),
        ("9.9.9.9:443", "unknown_address", "passes it through"),
    ] {
        assert_goes(target, &Owner::Nobody, &config(true), reason, says);
    }
    // One that is asked about in vain, and one that is not asked about.
    for target in ["1.2.3.5:443", "9.9.9.9:443"] {
        let (alone, through) = (config(false), "passes it through");
        let reason = "catalog_unavailable";
        assert_goes(target, &Owner::Nobody, &alone, reason, through);
    }
}

#[test]
fn a_service_is_balanced_as_far_as_it_has_endpoints_with_a_catalog_or_without() {
    for connected in [true, false] {
        for (target, reason, says) in [
            ("10.96.0.7:80", "balanced", "the one endpoint"),
            ("10.96.0.8:80", "no_endpoints", "passes it through"),
            ("10.96.0.9:5432", "balanced", "the one endpoint"),
        ] {
            assert_goes(target, &service(), &config(connected), reason, says);
        }
    }
}

#[test]
fn what_the_sidecar_holds_is_told_endpoint_by_endpoint() {
    let text = ask("10.96.0.7:80", &service(), Ok(&config(true))).render(false);
    for says in [
        "in zone z1: ready, preferred, answers in 2.5 ms",
        "10.0.0.8:80 shop/echo-1 in zone z1: ejected for 1.5 s more",
        "10.0.0.9:80 shop/echo-1 in zone z1: not ready",
        "endpoints in its zone are preferred",
        "the client speaks first",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let opaque = ask("10.96.0.9:5432", &service(), Ok(&config(true))).render(false);
    assert!(opaque.contains("opaque-ports"), "{opaque}");
}

/// What is told of a service with one endpoint, or two, that the sidecar holds so.
fn told(service: Value, endpoints: Value) -> String {
    let mut held =
        json!({"address": "10.96.0.7:80", "kind": "service", "namespace": "shop", "name": "echo"});
    held["endpoints"] = endpoints;
    for (field, value) in service.as_object().expect("an object") {
        held[field] = value.clone();
    }
    let config = json!({"zone": "z1", "node": "node-1", "catalog": {"connected": true}, "destinations": [held]});
    let config: Config = parse(config);
    ask("10.96.0.7:80", &self::service(), Ok(&config)).render(false)
}

#[test]
fn what_prefers_some_endpoints_is_told_by_where_it_comes_from() {
    let endpoint = |field: &str, hints: Value| json!([{"address": "10.0.0.7:80", "ready": true, "standing": "preferred", field: hints}]);
    let none = || endpoint("for_zones", json!([]));
    for (service, endpoints, says) in [
        (json!({}), none(), "in zone z1; none is preferred"),
        (
            json!({"prefer": "same_zone"}),
            none(),
            "endpoints in its zone are preferred (trafficDistribution)",
        ),
        (
            json!({"prefer": "same_node"}),
            none(),
            "endpoints on its node, then in its zone, are preferred",
        ),
        (
            json!({"prefer": "same_zone"}),
            endpoint("for_zones", json!(["z1"])),
            "EndpointSlices' hints prefer",
        ),
        (
            json!({}),
            endpoint("for_nodes", json!(["node-1"])),
            "EndpointSlices' hints prefer",
        ),
        // The policy leaves nothing to prefer.
        (
            json!({"node_local": true, "prefer": "same_zone"}),
            endpoint("for_zones", json!(["z1"])),
            "only endpoints on its node are used (internalTrafficPolicy: Local)",
        ),
        (
            json!({"session_affinity_seconds": 10800}),
            none(),
            "keeps the pod at one endpoint for 10800 s",
        ),
    ] {
        let text = told(service, endpoints);
        assert!(text.contains(says), "{says}: {text}");
        assert_eq!(
            text.contains("affinity"),
            says.contains("keeps the pod"),
            "{text}"
        );
    }
}

#[test]
fn an_endpoint_that_is_not_used_is_told_with_the_reason() {
    let endpoint = |address: &str, standing: &str, ready: bool, terminating: bool| json!({"address": address, "standing": standing, "ready": ready, "serving": true, "terminating": terminating});
    let elsewhere = json!([
        endpoint("10.0.0.7:80", "used", true, false),
        endpoint("10.0.0.8:80", "unused", true, false),
        endpoint("10.0.0.9:80", "unused", false, true),
    ]);
    let local = told(json!({"node_local": true}), elsewhere);
    let ending = json!([
        endpoint("10.0.0.7:80", "used", false, true),
        endpoint("10.0.0.8:80", "unused", false, false),
    ]);
    let ending = told(json!({}), ending);
    for (text, says) in [
        (&local, "+ endpoint    10.0.0.7:80: ready\n"),
        (&local, "! endpoint    10.0.0.8:80: on another node\n"),
        (&local, "! endpoint    10.0.0.9:80: terminating\n"),
        (&local, "=> it goes to the one endpoint"),
        (
            &ending,
            "+ endpoint    10.0.0.7:80: terminating, and used since none is ready\n",
        ),
        (&ending, "! endpoint    10.0.0.8:80: not ready\n"),
        (&ending, "=> it goes to the one endpoint"),
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn a_pod_without_a_sidecar_is_none_of_nettings_concern() {
    let known = Known {
        pod: &client(),
        not_injected: Some("host_network"),
        target: "10.96.0.7:80".parse().expect("an address"),
        asked_as: "echo:80",
        of_addresses: 1,
        owner: &service(),
        config: Err("there is none"),
        catalog: None,
    };
    let explained = explain(&known);
    assert_eq!(explained.reason, "no_sidecar");
    assert!(explained.render(false).contains("host_network"));
}

#[test]
fn what_was_not_used_lately_is_the_catalogs_to_say() {
    const STILL: &str = "terminating, and serving still";
    let instance = |address: &str, port: &str, readiness: &str| json!({"Service": {"Tags": [port], "Address": address}, "Checks": [{"Output": readiness}]});
    // Two pods with two ports, and addresses of both families.
    let all = ["10.0.0.7", "10.0.0.8", "fd00::7", "fd00::8"]
        .into_iter()
        .flat_map(|ip| {
            [
                instance(ip, "http", "ready"),
                instance(ip, "metrics", "ready"),
            ]
        });
    let ready: Vec<Instance> = parse(all.collect());
    let ending: Vec<Instance> = parse(json!([
        instance("10.0.0.7", "http", STILL),
        instance("10.0.0.8", "http", "not ready"),
        instance("10.0.0.8", "metrics", "ready"),
    ]));
    let held = config(true);
    for (catalog, reason, says) in [
        (
            Some(ready.as_slice()),
            "not_used_lately",
            "over 2 endpoints",
        ),
        (
            Some(ending.as_slice()),
            "not_used_lately",
            "the 1 that serve while they terminate",
        ),
        (Some(&ending[1..]), "no_endpoints", "passes it through"),
        (None, "not_used_lately", "could not be asked"),
    ] {
        let explained = explain(&Known {
            pod: &client(),
            not_injected: None,
            target: "10.96.0.77:80".parse().expect("an address"),
            asked_as: "other:80",
            of_addresses: 1,
            owner: &service(),
            config: Ok(&held),
            catalog,
        });
        assert_eq!(explained.reason, reason, "{explained:?}");
        assert!(explained.verdict.contains(says), "{explained:?}");
    }
    let silent = ask("10.96.0.7:80", &service(), Err("it hung up"));
    assert_eq!(silent.reason, "sidecar_silent");
}

#[test]
fn where_the_policy_is_local_the_catalog_is_asked_for_endpoints_on_the_pods_node() {
    let instance = |node: &str, ip: &str, readiness: &str| {
        json!({"Node": {"Node": node}, "Service": {"Tags": ["http"], "Address": ip},
            "Checks": [{"Output": readiness}]})
    };
    let all: Vec<Instance> = parse(json!([
        instance("node-1", "10.0.0.7", "ready"),
        instance("node-1", "10.0.0.8", "not ready"),
        instance("node-2", "10.0.0.9", "ready"),
        instance("", "10.0.0.10", "ready"),
    ]));
    let Owner::Service {
        namespace,
        name,
        port,
        ..
    } = service()
    else {
        panic!("it is a service");
    };
    let local = Owner::Service {
        namespace,
        name,
        port,
        node_local: true,
    };
    let held = config(true);
    for (node, reason, says) in [
        (Some("node-1"), "not_used_lately", "over 1 endpoint"),
        (Some("node-3"), "no_endpoints", "passes it through"),
        (None, "no_endpoints", "passes it through"),
    ] {
        let mut pod = client();
        pod.spec.as_mut().expect("it has one").node_name = node.map(ToOwned::to_owned);
        let explained = explain(&Known {
            pod: &pod,
            not_injected: None,
            target: "10.96.0.77:80".parse().expect("an address"),
            asked_as: "other:80",
            of_addresses: 1,
            owner: &local,
            config: Ok(&held),
            catalog: Some(&all),
        });
        assert_eq!(explained.reason, reason, "{explained:?}");
        assert!(explained.verdict.contains(says), "{explained:?}");
        let text = explained.render(false);
        assert!(text.contains("internalTrafficPolicy: Local"), "{text}");
    }
}

#[test]
fn of_a_headless_service_one_address_is_taken_for_all() {
    let owner = Owner::Pod {
        namespace: "shop".to_owned(),
        name: "db-1".to_owned(),
        meshed: true,
    };
    let says = "has 2 addresses in DNS";
    for (of_addresses, is_said) in [(1, false), (2, true)] {
        let explained = explain(&Known {
            pod: &client(),
            not_injected: None,
            target: "10.0.0.9:5432".parse().expect("an address"),
            asked_as: "db:5432",
            of_addresses,
            owner: &owner,
            config: Ok(&config(true)),
            catalog: None,
        });
        let text = explained.render(false);
        assert_eq!(text.contains(says), is_said, "{text}");
        assert!(text.contains("is pod shop/db-1, with a sidecar"), "{text}");
    }
}

#[test]
fn a_service_without_that_port_is_a_mistake_that_is_marked() {
    let owner = Owner::Service {
        namespace: "shop".to_owned(),
        name: "echo".to_owned(),
        port: None,
        node_local: false,
    };
    let explained = ask("10.96.0.70:81", &owner, Ok(&config(true)));
    assert_eq!(explained.steps[0].mark, Mark::Bad);
    assert_eq!(explained.reason, "unknown_address");
}

#[test]
fn reasons_are_named_as_the_sidecar_names_them() {
    for (ours, theirs) in [
        (reasons::UNKNOWN_ADDRESS, Reason::UnknownAddress),
        (reasons::CATALOG_UNAVAILABLE, Reason::CatalogUnavailable),
        (reasons::CATALOG_SILENT, Reason::CatalogSilent),
        (reasons::NO_ENDPOINTS, Reason::NoEndpoints),
        (reasons::OWN_ADDRESS, Reason::OwnAddress),
        (reasons::OWN_PORT, Reason::OwnPort),
    ] {
        assert_eq!(ours, theirs.as_str());
    }
}
