//! Probes through the admin port, as the kubelet asks them: from the node, which the
//! peer stands for, behind the same rules as everything else.

use std::{
    io::{self, ErrorKind::ConnectionRefused, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    FAMILIES,
    harness::{PATIENCE, namespace::dst, pod::Pod},
};

const PROBES: &str = r#"{
    "/probe/web/liveness": {"tcpSocket": {"port": 8080}, "port": 8080, "timeoutSeconds": 1},
    "/probe/web/readiness": {"httpGet": {"path": "/ready", "port": 8080}, "port": 8080},
    "/probe/web/prestop": {"httpGet": {"path": "/drain", "port": 8080}, "port": 8080},
    "/probe/web/startup": {"tcpSocket": {"port": 15006}, "port": 15006}
}"#;

/// Asks the admin port at an address of the pod, and returns the whole answer.
fn probe(pod: &Pod, ip: &str, path: &str) -> io::Result<String> {
    let mut stream = pod.peer_connect(dst(ip, 15020))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: pod\r\nuser-agent: kube-probe/1.36\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Answers each request with its first line, for which the client has to wait.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]);
            let line = head.lines().next().unwrap_or_default();
            let length = line.len();
            // A probe of the port alone has gone by now.
            let _ = write!(
                stream,
                "HTTP/1.1 418 X\r\ncontent-length: {length}\r\n\r\n{line}"
            );
        }
    });
}

#[test]
fn a_probe_fails_while_the_application_does_not_listen_and_passes_once_it_does() {
    let pod = Pod::start_with_probes(PROBES);
    for family in FAMILIES {
        // Whoever connects to the port itself finds the sidecar. (It resets what it
        // can't pass on, perhaps before the connect returns.)
        let redirected = pod.peer_connect(dst(family.pod, 8080));
        let refused = redirected.is_err_and(|error| error.kind() == ConnectionRefused);
        assert!(!refused, "the port is not redirected");

        let answer = probe(&pod, family.pod, "/probe/web/liveness").expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("connection refused\n"), "{answer}");

        serve(pod.listen(dst(family.pod, 8080)));
        let answer = probe(&pod, family.pod, "/probe/web/liveness").expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let passed = r#"netting_probes_total{outcome="passed",probe="liveness"} 2"#;
    let metrics = pod.admin("/instruments");
    assert!(metrics.contains(passed), "{metrics}");
}

#[test]
fn what_is_bound_to_loopback_does_not_pass_for_the_pod() {
    let pod = Pod::start_with_probes(PROBES);
    serve(pod.listen(dst("127.0.0.1", 8080)));
    let answer = probe(&pod, "10.0.0.2", "/probe/web/liveness").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let answer = pod.admin("/probe/web/liveness");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn the_applications_answer_is_passed_on() {
    let pod = Pod::start_with_probes(PROBES);
    serve(pod.listen(dst("10.0.0.2", 8080)));
    let answer = probe(&pod, "10.0.0.2", "/probe/web/readiness").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 418"), "{answer}");
    assert!(answer.ends_with("GET /ready HTTP/1.1"), "{answer}");
    // To a hook any answer is a good one.
    let answer = probe(&pod, "10.0.0.2", "/probe/web/prestop").expect("it answers");
    assert!(answer.ends_with("GET /drain HTTP/1.1"), "{answer}");
}

#[test]
fn a_hook_that_nobody_takes_is_not_answered_at_all() {
    let pod = Pod::start_with_probes(PROBES);
    let answer = probe(&pod, "10.0.0.2", "/probe/web/prestop").expect("it is closed in order");
    assert_eq!(answer, "", "the kubelet takes any answer for a good one");
}

#[test]
fn the_sidecar_does_not_end_before_a_hook_that_the_application_is_taking() {
    let mut pod = Pod::start_with_probes(PROBES);
    let app = pod.listen(dst("10.0.0.2", 8080));
    let (answer, answered) = mpsc::channel();
    thread::scope(|scope| {
        let pod = &pod;
        scope.spawn(move || answer.send(probe(pod, "10.0.0.2", "/probe/web/prestop")));
        let (mut asked, _) = app.accept().expect("the hook is asked");
        let read = asked.read(&mut [0; 1024]).expect("it is a request");
        assert!(read > 0);

        pod.terminate();
        pod.wait_for("/ready", "not ready: not draining");
        // Twice as long as the sidecar would stay for nothing.
        let early = answered.recv_timeout(Duration::from_secs(1));
        assert!(early.is_err(), "nothing has been answered yet: {early:?}");
        asked
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ndrained")
            .expect("the sidecar is there");
        let answer = answered.recv_timeout(PATIENCE).expect("it is passed on");
        let answer = answer.expect("it is an answer");
        assert!(answer.ends_with("drained"), "{answer}");
    });
    assert_eq!(pod.exit_code(), Some(0));
}

#[test]
fn only_the_pods_own_probes_are_asked_and_never_the_sidecar() {
    let pod = Pod::start_with_probes(PROBES);
    for path in [
        "/probe/web/poststart",
        "/probe/other/liveness",
        "/probe/10.0.0.1/8080",
    ] {
        let answer = probe(&pod, "10.0.0.2", path).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let answer = probe(&pod, "10.0.0.2", "/probe/web/startup").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("the sidecar's own"), "{answer}");
}
