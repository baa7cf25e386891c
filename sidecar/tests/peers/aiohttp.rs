//! aiohttp, client and server.

use crate::{pods::Pods, process::run, python};

#[test]
fn requests_over_pooled_connections_are_answered_the_same() {
    let pods = Pods::new();
    let _server = python::server(&pods.server, 8080, "aiohttp_server.py");
    let calls = [
        "pooled",
        "methods",
        "streams",
        "conversation",
        "broken",
        "headers",
    ];
    let ended = pods.same(&calls, |pods, calls| {
        run(python::script(pods, "aiohttp_client.py").arg(calls))
    });
    for (calls, ended) in calls.iter().zip(&ended) {
        assert_eq!(ended.code, Some(0), "{calls}: {ended:?}");
    }
    assert!(ended[2].stdout.contains("\n3000000\n"), "{:?}", ended[2]);
    assert_eq!(ended[3].stdout.lines().count(), 10, "{:?}", ended[3]);
    assert_eq!(ended[4].stdout, "200\nClientPayloadError\n200\n");
}
