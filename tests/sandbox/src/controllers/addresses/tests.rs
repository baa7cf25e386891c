use super::*;

fn service(spec: Value) -> Service {
    serde_json::from_value(
        json!({"metadata": {"name": "cart", "namespace": "shop", "uid": "s"}, "spec": spec}),
    )
    .expect("a service")
}

fn pod(name: &str, ip: &str, ready: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "cart"}},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}, {"ip": "fd00::1"}],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    }))
    .expect("a pod")
}

fn conditions(group: &Group) -> Vec<&Value> {
    group
        .endpoints
        .as_array()
        .into_iter()
        .flatten()
        .map(|endpoint| &endpoint["conditions"])
        .collect()
}

#[test]
fn selects_nothing_without_a_selector_or_in_another_namespace() {
    let pod = pod("p", "10.0.0.1", "True");
    assert!(!selects(&service(json!({})), &pod));
    assert!(!selects(&service(json!({"selector": {}})), &pod));
    assert!(!selects(
        &service(json!({"selector": {"app": "cart"}, "type": "ExternalName"})),
        &pod
    ));
    assert!(selects(
        &service(json!({"selector": {"app": "cart"}})),
        &pod
    ));
    let mut elsewhere = pod;
    elsewhere.metadata.namespace = Some("other".into());
    assert!(!selects(
        &service(json!({"selector": {"app": "cart"}})),
        &elsewhere
    ));
}

#[test]
fn a_service_without_pods_has_an_empty_group_for_each_family() {
    let groups = groups(
        &service(json!({"ipFamilies": ["IPv6", "IPv4"]})),
        &[],
        &HashMap::new(),
    );
    let families: Vec<&str> = groups.iter().map(|group| group.family.as_str()).collect();
    assert_eq!(families, ["IPv6", "IPv4"]);
    assert!(
        groups
            .iter()
            .all(|group| group.endpoints.is_null() && group.ports.is_null())
    );
}

#[test]
fn conditions_tell_ready_serving_and_terminating_apart() {
    let ready = pod("a", "10.0.0.1", "True");
    let unready = pod("b", "10.0.0.2", "False");
    let mut going = pod("c", "10.0.0.3", "True");
    going.metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH.into());
    let pods = [&ready, &unready, &going];
    let plain = service(json!({"ports": [{"port": 80, "targetPort": "web"}]}));
    let expected = [
        (true, true, false),
        (false, false, false),
        (false, true, true),
    ];
    let json = |(ready, serving, terminating)| json!({"ready": ready, "serving": serving, "terminating": terminating});
    let found = groups(&plain, &pods, &HashMap::new());
    assert_eq!(
        conditions(&found[0]),
        expected.map(json).iter().collect::<Vec<_>>()
    );
    let publishing = service(json!({"publishNotReadyAddresses": true, "ports": [{"port": 80}]}));
    let found = groups(&publishing, &pods, &HashMap::new());
    assert!(
        conditions(&found[0])
            .iter()
            .all(|conditions| conditions["ready"] == true)
    );
}

#[test]
fn named_ports_are_resolved_for_each_pod() {
    let service = service(
        json!({"ports": [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "x", "port": 1, "targetPort": "nope"}]}),
    );
    let one = pod("a", "10.0.0.1", "True");
    let mut other = pod("b", "10.0.0.2", "True");
    other.spec.as_mut().expect("it has one").containers[0]
        .ports
        .as_mut()
        .expect("it has one")[0]
        .container_port = 9090;
    let found = groups(&service, &[&one, &other], &HashMap::new());
    let ports: Vec<&Value> = found.iter().map(|group| &group.ports).collect();
    let expected =
        [8080, 9090].map(|port| json!([{"name": "http", "protocol": "TCP", "port": port}]));
    assert_eq!(ports, expected.iter().collect::<Vec<_>>());
}

#[test]
fn endpoints_leave_out_pods_that_are_going_unless_published() {
    let unready = pod("b", "10.0.0.2", "False");
    let mut going = pod("c", "10.0.0.3", "True");
    going.metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH.into());
    let found = subsets(
        &service(json!({"ports": [{"port": 80}]})),
        &[&unready, &going],
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
    assert!(found[0].get("addresses").is_none());
    let publishing = service(json!({"publishNotReadyAddresses": true, "ports": [{"port": 80}]}));
    let found = subsets(&publishing, &[&unready, &going]);
    assert_eq!(found[0]["addresses"].as_array().map(Vec::len), Some(2));
}

#[test]
fn trigger_times_are_told_once() {
    let service = service(json!({}));
    let pod = pod("a", "10.0.0.1", "True");
    let mut times = TriggerTimes::default();
    assert_eq!(
        times.advance(&service, &[&pod]).as_deref(),
        Some("2026-01-01T00:00:00Z")
    );
    assert_eq!(times.advance(&service, &[&pod]), None);
}
