//! What the catalog names of the application's own ports.

use crate::{
    answer_with, ask,
    harness::{
        catalog::{self, Known},
        namespace::dst,
        pod::Pod,
    },
};

/// No proxy that looks into HTTP passes it on.
const NO_REQUEST: &str = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";

#[test]
fn a_port_that_is_named_after_an_opaque_protocol_is_not_looked_into_on_the_way_in() {
    let own = dst("10.0.0.2", 6379);
    let known = Known {
        endpoints: [(own, own)].into(),
        hints: [(own, "redis".to_owned())].into(),
        ..Known::default()
    };
    let pod = Pod::start_with_catalog(|listener| catalog::serve(listener, known));
    answer_with(pod.listen(own), "app");
    let says = |what: &str| {
        let stream = pod.peer_connect(own).expect("the sidecar accepts");
        ask(stream, what).expect("it is answered")
    };
    // The first one may be before the answer.
    says("hello");
    pod.wait_for("/config", r#""redis""#);
    assert_eq!(says(NO_REQUEST), format!("app 10.0.0.2 {NO_REQUEST}"));
}
