//! WebSockets (RFC 6455), client and server.

use crate::{
    pods::{Pods, SERVICE},
    process::run,
    python,
};

#[test]
fn conversations_over_websockets_are_the_same() {
    let pods = Pods::new();
    let _server = python::server(&pods.server, 8080, "websocket_server.py");
    let calls = [
        "echo",
        "large",
        "ping",
        "closing",
        "subprotocol",
        "refused",
        "pushed",
        "many",
    ];
    let ended = pods.same(&calls, |pods, calls| {
        run(python::script(pods, "websocket_client.py").arg(calls))
    });
    for (calls, ended) in calls.iter().zip(&ended) {
        assert_eq!(ended.code, Some(0), "{calls}: {ended:?}");
        assert!(!ended.stdout.contains("False"), "{calls}: {ended:?}");
    }
    assert!(ended[3].stdout.contains("4001"), "{:?}", ended[3]);
    assert!(ended[4].stdout.starts_with("second "), "{:?}", ended[4]);
    assert_eq!(ended[5].stdout, "403 b'not you\\n'\n");
}

#[test]
fn a_request_that_does_not_upgrade_is_told_so() {
    let pods = Pods::new();
    let _server = python::server(&pods.server, 8080, "websocket_server.py");
    let ended = pods.same(&[()], |pods, ()| {
        let url = format!("http://{SERVICE}:8080/");
        run(pods
            .client_command("curl")
            .args(["-sS", "-w", "%{http_code}", &url]))
    });
    assert!(ended[0].stdout.ends_with("426"), "{ended:?}");
}
