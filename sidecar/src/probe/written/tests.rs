//! What is no probe, and what becomes of one.

use serde_json::json;

use super::*;

fn parsed(path: &str, written: Value) -> Result<Probe, NotProbes> {
    let probes: Probes = json!({ path: written }).to_string().parse()?;
    Ok(probes.0[path].clone())
}

fn http(handler: Value) -> Result<HttpGet, NotProbes> {
    let written = json!({"httpGet": handler, "port": 8080});
    match parsed("/probe/web/liveness", written)?.question {
        Question::Http(get) => Ok(get),
        other => panic!("it is httpGet, not {other:?}"),
    }
}

#[test]
fn refuses_what_the_webhook_does_not_write() {
    for text in [
        "",
        "[]",
        "{",
        r#"{"/probe/web/liveness": null}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1}}}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": 0}}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": 65536}}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": "http"}}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": 1, "timeoutSeconds": 0}}"#,
        r#"{"/probe/web/liveness": {"tcpSocket": {"port": 1, "tls": true}, "port": 1}}"#,
        r#"{"/probe/web/liveness": {"udpSocket": {"port": 1}, "port": 1}}"#,
    ] {
        let refused = text.parse::<Probes>().expect_err(text);
        assert!(refused.to_string().contains("webhook"), "{refused}");
    }
}

#[test]
fn refuses_a_probe_that_cannot_be_asked_and_says_which() {
    let tcp = json!({"tcpSocket": {"port": 1}, "port": 1});
    let elsewhere = json!({"tcpSocket": {"port": 1, "host": "10.0.0.9"}, "port": 1});
    let two = json!({"tcpSocket": {"port": 1}, "grpc": {"port": 1}, "port": 1});
    for (path, written, what) in [
        ("/probe/web/liveliness", tcp.clone(), "a path"),
        ("/probe/web", tcp.clone(), "a path"),
        ("/probe//liveness", tcp.clone(), "a path"),
        ("/probe/a/b/liveness", tcp.clone(), "a path"),
        ("/metrics", tcp.clone(), "a path"),
        ("/probe/web/prestop", tcp, "a hook"),
        ("/probe/web/liveness", elsewhere, "a host"),
        ("/probe/web/liveness", two, "not one handler"),
        ("/probe/web/liveness", json!({"port": 1}), "not one handler"),
    ] {
        let refused = parsed(path, written).expect_err(path).to_string();
        assert!(
            refused.contains(path) && refused.contains(what),
            "{refused}"
        );
    }
    for handler in [
        json!({"port": 1, "host": "127.0.0.1"}),
        json!({"port": 1, "scheme": "FTP"}),
        json!({"port": 1, "path": "/a b"}),
        json!({"port": 1, "path": "/\u{1}"}),
        json!({"port": 1, "httpHeaders": [{"name": "a b", "value": ""}]}),
        json!({"port": 1, "httpHeaders": [{"name": "a", "value": "b\r\nc: d"}]}),
    ] {
        assert!(http(handler.clone()).is_err(), "{handler}");
    }
}

#[test]
fn refusals_tell_no_header() {
    let headers = json!([{"name": "Authorization", "value": "secret\n"}]);
    let refused = http(json!({"port": 1, "httpHeaders": headers})).expect_err("a line break");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

#[test]
fn a_probe_is_answered_before_the_kubelet_stops_waiting() {
    let tcp =
        |seconds: Value| json!({"tcpSocket": {"port": 1}, "port": 1, "timeoutSeconds": seconds});
    for (seconds, timeout) in [(json!(null), 950), (json!(1), 950), (json!(300), 299_950)] {
        let probe = parsed("/probe/web/startup", tcp(seconds)).expect("it is a probe");
        assert_eq!(probe.timeout, Duration::from_millis(timeout));
    }
    let hook = json!({"httpGet": {"port": 1}, "port": 1});
    let hook = parsed("/probe/web/prestop", hook).expect("it is a hook");
    assert_eq!(hook.timeout, HOOK_TIME_MAX);
}

#[test]
fn a_path_begins_at_the_root_and_keeps_its_query() {
    for (handler, path) in [
        (json!({"port": 1}), "/"),
        (json!({"port": 1, "path": ""}), "/"),
        (json!({"port": 1, "path": "healthz"}), "/healthz"),
        (json!({"port": 1, "path": "/a?b=c&d"}), "/a?b=c&d"),
        (json!({"port": 1, "path": "/%2e%2e//x"}), "/%2e%2e//x"),
    ] {
        assert_eq!(http(handler).expect("it is a path").path, path);
    }
}

#[test]
fn headers_are_kept_but_for_those_that_frame_a_message() {
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let headers = json!([
        header("X-One", "1"),
        header("Host", "web.example"),
        header("Host", "other.example"),
        header("x-one", "2"),
        header("Content-Length", "5"),
        header("Transfer-Encoding", "chunked"),
        header("Connection", "keep-alive"),
        {"name": "X-None"},
    ]);
    let get = http(json!({"port": 1, "httpHeaders": headers})).expect("they are headers");
    let headers: Vec<_> = get
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_bytes()))
        .collect();
    let kept: [(&str, &[u8]); 4] = [
        ("x-one", b"1"),
        ("x-one", b"2"),
        ("host", b"web.example"),
        ("x-none", b""),
    ];
    assert_eq!(headers, kept);
}
