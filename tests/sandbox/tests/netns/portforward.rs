//! Connections to ports of pods, through the API server and the node.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::boxed::{in_a_box, shell};

/// Answers each line with itself, at loopback alone.
const ECHO: &str = "exec python3 -c '
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b\"you said \" + line)
socketserver.ThreadingTCPServer((\"127.0.0.1\", 7777), Echo).serve_forever()
'";

#[test]
fn a_port_of_a_pod_is_reached_at_loopback() {
    in_a_box(&[], async |boxed| {
        let mut container = shell("main", ECHO);
        // Ready once it listens.
        let connects = "exec 3<>/dev/tcp/127.0.0.1/7777";
        let probe = json!({"exec": {"command": ["/bin/bash", "-c", connects]}, "periodSeconds": 1});
        container["readinessProbe"] = probe;
        boxed.run("echo", json!({"containers": [container]})).await;
        boxed.ready("echo").await;
        let pods: Api<Pod> = boxed.api();

        let mut forwarded = pods
            .portforward("echo", &[7777, 7778])
            .await
            .expect("it is forwarded");
        let mut stream = forwarded.take_stream(7777).expect("it was asked for");
        let long = "x".repeat(200_000);
        for line in ["hello", long.as_str(), "bye"] {
            let sent = stream.write_all(format!("{line}\n").as_bytes()).await;
            sent.expect("the pod takes it");
            let expected = format!("you said {line}\n");
            let mut answer = vec![0; expected.len()];
            stream
                .read_exact(&mut answer)
                .await
                .expect("the pod answers");
            assert!(answer == expected.as_bytes(), "{} bytes", answer.len());
        }
        let refused = forwarded.take_error(7778).expect("it was asked for").await;
        let refused = refused.expect("nobody listens there");
        assert!(refused.contains("localhost:7778"), "{refused}");
    });
}

#[test]
fn a_pod_that_is_not_there_has_no_ports() {
    in_a_box(&[], async |boxed| {
        let pods: Api<Pod> = boxed.api();
        let refused = pods.portforward("nobody", &[80]).await;
        let refused = refused.err().expect("there is no such pod");
        assert!(
            matches!(&refused, kube::Error::Api(status) if status.code == 404),
            "{refused}"
        );
    });
}
