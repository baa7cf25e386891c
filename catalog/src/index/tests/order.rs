//! No answer depends on the order in which objects arrived.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    index::{Index, state::State},
    objects::Parsed,
    test_cluster::{Object, addr, member, pod, service, slice, with},
};

/// Objects that get into each other's way as much as they can.
fn objects() -> Vec<Value> {
    let ports = json!([{"name": "http", "port": 80}, {"name": "db", "port": 3306}]);
    let behind = json!([{"name": "http", "port": 8080}]);
    let not_ready = with(
        member("10.244.0.1", "a-1"),
        "/conditions",
        json!({"ready": false}),
    );
    let zoned = with(member("10.244.0.1", "a-1"), "/zone", json!("zone-b"));
    let noted = with(member("10.244.0.1", "a-1"), "/nodeName", json!("node-b"));
    let stranger = member("10.244.0.1", "stranger");
    let endpoints = |name: &str| {
        json!({
            "kind": "Endpoints",
            "metadata": {"namespace": "shop", "name": name},
            "subsets": [{"addresses": [{"ip": "10.244.0.3"}], "ports": [{"name": "db", "port": 3306}]}],
        })
    };
    vec![
        with(
            service("a", "10.96.0.1", ports.clone()),
            "/metadata/uid",
            json!("1"),
        ),
        with(
            service("b", "10.96.0.1", ports.clone()),
            "/metadata/uid",
            json!("2"),
        ),
        service(
            "c",
            "None",
            json!([{"name": "http", "port": 80, "appProtocol": "grpc"}]),
        ),
        service("d", "10.96.0.4", ports),
        slice(
            "a-1",
            "a",
            behind.clone(),
            json!([not_ready, member("10.244.0.2", "a-2")]),
        ),
        slice("a-2", "a", behind.clone(), json!([zoned, noted])),
        slice(
            "b-1",
            "b",
            behind.clone(),
            json!([stranger, member("10.244.0.2", "a-2")]),
        ),
        slice("c-1", "c", behind, json!([member("10.244.0.1", "a-1")])),
        endpoints("b"),
        endpoints("d"),
        pod("a-1", "10.244.0.1"),
        pod("a-2", "10.244.0.2"),
        with(pod("x", "10.244.0.2"), "/metadata/uid", json!("9")),
        pod("y", "10.244.0.3"),
    ]
}

/// Other versions of the same objects, to come and go before the final ones.
fn detours(objects: &[Value]) -> Vec<Value> {
    let mut detours = Vec::new();
    for object in objects {
        let other = match object["kind"].as_str() {
            Some("Service") => with(object.clone(), "/spec/clusterIPs", json!(["10.96.0.4"])),
            Some("EndpointSlice") => with(
                object.clone(),
                "/endpoints",
                json!([member("10.244.0.3", "y")]),
            ),
            Some("Endpoints") => with(object.clone(), "/subsets", json!(null)),
            _ => with(
                object.clone(),
                "/status/podIPs",
                json!([{"ip": "10.244.0.1"}]),
            ),
        };
        detours.push(other);
    }
    detours
}

fn answers(index: &Index) -> Vec<(SocketAddr, Option<State>)> {
    let ips = [
        "10.96.0.1",
        "10.96.0.4",
        "10.244.0.1",
        "10.244.0.2",
        "10.244.0.3",
    ];
    let ports = [80, 3306, 8080];
    let all = ips
        .iter()
        .flat_map(|ip| ports.map(|port| addr(&format!("{ip}:{port}"))));
    all.map(|addr| (addr, index.lookup(addr))).collect()
}

fn shuffled(objects: &[Value], random: &mut fastrand::Rng) -> Vec<Object> {
    let mut objects: Vec<Object> = objects.iter().map(Object::parse).collect();
    random.shuffle(&mut objects);
    objects
}

fn in_order() -> Vec<(SocketAddr, Option<State>)> {
    let mut index = Index::default();
    for object in &objects() {
        Object::parse(object).apply(&mut index);
    }
    answers(&index)
}

#[test]
fn the_sample_is_worth_shuffling() {
    let known = in_order().into_iter().filter(|(_, state)| state.is_some());
    assert!(known.count() >= 10);
}

#[test]
fn any_order_gives_the_same_answers() {
    let expected = in_order();
    for seed in 0..500 {
        let mut index = Index::default();
        for object in shuffled(&objects(), &mut fastrand::Rng::with_seed(seed)) {
            object.apply(&mut index);
        }
        assert_eq!(answers(&index), expected, "seed {seed}");
    }
}

#[test]
fn what_came_and_went_leaves_no_trace() {
    let expected = in_order();
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut index = Index::default();
        for object in shuffled(&detours(&objects()), &mut random) {
            object.clone().apply(&mut index);
            if random.bool() {
                object.delete(&mut index);
            }
        }
        for object in shuffled(&objects(), &mut random) {
            object.apply(&mut index);
        }
        assert_eq!(answers(&index), expected, "seed {seed}");
        for object in shuffled(&objects(), &mut random) {
            object.delete(&mut index);
        }
        assert_eq!(index.sizes(), super::super::Sizes::default(), "seed {seed}");
        assert!(answers(&index).iter().all(|(_, state)| state.is_none()));
    }
}

#[test]
fn a_list_replaces_all_there_was() {
    let expected = in_order();
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut index = Index::default();
        for object in shuffled(&detours(&objects()), &mut random) {
            object.apply(&mut index);
        }
        Object::parse(&service("gone", "10.96.0.1", json!([{"port": 80}]))).apply(&mut index);
        Object::parse(&slice(
            "gone",
            "a",
            json!([{"name": "http", "port": 1}]),
            json!([member("10.244.0.1", "a-1")]),
        ))
        .apply(&mut index);
        Object::parse(&pod("gone", "10.244.0.3")).apply(&mut index);
        reset(&mut index, shuffled(&objects(), &mut random));
        assert_eq!(answers(&index), expected, "seed {seed}");
    }
}

#[test]
fn a_change_names_every_address_whose_answer_differs() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut index = Index::default();
        let mut steps = shuffled(&objects(), &mut random);
        steps.extend(shuffled(&detours(&objects()), &mut random));
        random.shuffle(&mut steps);
        for step in steps {
            let before = answers(&index);
            let what = format!("seed {seed}, {step:?}");
            let changes = if random.u8(..4) == 0 {
                step.delete(&mut index)
            } else {
                step.apply(&mut index)
            };
            for ((addr, before), (_, after)) in before.iter().zip(answers(&index)) {
                let named = changes.ips.contains(&addr.ip());
                assert!(
                    *before == after || named,
                    "{addr} is not in {changes:?}; {what}"
                );
            }
        }
    }
}

fn reset(index: &mut Index, objects: Vec<Object>) {
    let (mut services, mut slices, mut endpoints, mut pods) = (vec![], vec![], vec![], vec![]);
    for object in objects {
        match object {
            Object::Service(Parsed { object, .. }) => services.extend(object),
            Object::Slice(Parsed { object, .. }) => slices.extend(object),
            Object::Endpoints(Parsed { object, .. }) => endpoints.extend(object),
            Object::Pod(Parsed { object, .. }) => pods.extend(object),
        }
    }
    index.reset_services(services);
    index.reset_slices(slices);
    index.reset_endpoints(endpoints);
    index.reset_pods(pods);
}
