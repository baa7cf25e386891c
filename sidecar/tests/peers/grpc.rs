//! Python's gRPC, client and server.

use crate::{pods::Pods, process::run, python};

#[test]
fn calls_of_every_kind_have_the_same_outcome() {
    let pods = Pods::new();
    let _server = python::server(&pods.server, 50051, "grpc_server.py");
    let calls = [
        "unary",
        "metadata",
        "statuses",
        "deadlines",
        "cancellation",
        "streams",
        "conversation",
        "slow_reader",
        "compression",
        "health",
    ];
    let ended = pods.same(&calls, |pods, calls| {
        run(python::script(pods, "grpc_client.py").arg(calls))
    });
    for (calls, ended) in calls.iter().zip(&ended) {
        assert_eq!(ended.code, Some(0), "{calls}: {ended:?}");
        assert_eq!(ended.stderr, "", "{calls}");
    }
    let said = |at: usize| ended[at].stdout.as_str();
    assert!(said(1).contains("('x-trailing', 'last')"), "{}", said(1));
    assert!(
        said(2).contains("nicht möglich: 100 % \\n sure"),
        "{}",
        said(2)
    );
    assert!(said(2).contains("[b'one', b'two']"), "{}", said(2));
    let exceeded = "StatusCode.DEADLINE_EXCEEDED [b'True', b'True']\n";
    assert_eq!(said(3), exceeded.repeat(2));
    assert!(
        said(4).starts_with("b'True'\nTrue b'True'\n"),
        "{}",
        said(4)
    );
    assert!(said(9).contains("status: SERVING"), "{}", said(9));
}
