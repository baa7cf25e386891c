//! How connections end when the sidecar is told to.

use std::{
    io::{self, Read as _, Write as _},
    thread,
    time::Duration,
};

use crate::{
    answer_with, ask,
    harness::{
        PATIENCE,
        catalog::{self, Known},
        namespace::dst,
        pod::Pod,
    },
};

mod http;

#[test]
fn finishes_what_is_running_when_it_is_told_to_end() {
    let mut pod = Pod::start(&[]);
    let app = dst("10.0.0.2", 8080);
    answer_with(pod.listen(app), "app");
    let running = pod.peer_connect(app).expect("the sidecar accepts");
    let mut greeted = running.try_clone().expect("a socket can be cloned");
    greeted.write_all(b"before, ").expect("it is passed on");
    pod.wait_for(
        "/instruments",
        r#"netting_tcp_connections_active{direction="inbound"} 1"#,
    );

    pod.terminate();
    pod.wait_for("/ready", "not ready: not draining");
    let late = pod.peer_connect(app).and_then(|stream| ask(stream, "late"));
    assert_eq!(late.expect("it still accepts"), "app 10.0.0.2 late");
    let answer = ask(running, "after").expect("it is finished");
    assert_eq!(answer, "app 10.0.0.2 before, after");
    assert_eq!(pod.exit_code(), Some(0));
}

#[test]
fn what_is_still_running_at_the_deadline_does_not_look_complete() {
    let mut pod = Pod::start(&[]);
    let app = dst("10.0.0.2", 8080);
    let listener = pod.listen(app);
    let mut running = pod.peer_connect(app).expect("the sidecar accepts");
    running.write_all(b"hello\n").expect("it is passed on");
    let (mut served, _) = listener.accept().expect("the sidecar connects");
    served.write_all(b"half").expect("it is passed on");
    running
        .read_exact(&mut [0; 4])
        .expect("the beginning is passed on");
    pod.terminate();
    pod.wait_for("/ready", "not ready: not draining");
    // A second signal means now.
    pod.terminate();
    let end = running.read(&mut [0]).expect_err("it is cut");
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(pod.exit_code(), Some(0));
}

#[test]
fn connections_on_which_nobody_spoke_are_not_waited_for() {
    let (app, service) = (dst("10.0.0.2", 8080), dst("192.0.2.10", 80));
    let endpoint = dst("10.0.0.1", 8080);
    let mut pod = Pod::start(&[(service, endpoint)]);
    let (inbound, outbound) = (pod.listen(app), pod.peer_listen(endpoint));
    let clients = [pod.peer_connect(app), pod.connect(service)];
    let clients = clients.map(|client| client.expect("the sidecar accepts"));
    let servers = [inbound.accept(), outbound.accept()];
    let servers = servers.map(|server| server.expect("the sidecar connects").0);
    pod.terminate();
    for mut end in clients.into_iter().chain(servers) {
        let patient = end.set_read_timeout(Some(PATIENCE));
        patient.expect("a socket can be set so");
        assert_eq!(end.read(&mut [0]).expect("a clean end"), 0);
    }
    // Long before the deadline.
    assert_eq!(pod.exit_code(), Some(0));
}

/// It is told together with its application, which works on while its `preStop` hook runs.
#[test]
fn a_classic_sidecar_stays_while_its_application_has_a_socket() {
    /// Several times as long as a native one waits for the next connection.
    const SPARSE: Duration = Duration::from_secs(1);
    let classic = [("NETTING_SIDECAR_MODE", "classic")];
    let mut pod = Pod::start_with(&classic, |listener| {
        catalog::serve(listener, Known::default());
    });
    let (app, database) = (dst("10.0.0.2", 8080), dst("10.0.0.1", 3306));
    answer_with(pod.peer_listen(database), "database");
    let listener = pod.listen(app);
    let application = thread::spawn(move || -> io::Result<()> {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept()?;
            stream.read_to_string(&mut String::new())?;
            stream.write_all(b"app")?;
        }
        Ok(())
    });
    pod.terminate();
    pod.wait_for("/ready", "not ready: not draining");
    for _ in 0..2 {
        thread::sleep(SPARSE);
        let late = pod.peer_connect(app).and_then(|stream| ask(stream, "late"));
        assert_eq!(late.expect("it still accepts"), "app");
    }
    let ended = application.join().expect("it does not panic");
    ended.expect("both have come");
    // It listens no more, and has something to write down yet.
    thread::sleep(SPARSE);
    let written = pod
        .connect(database)
        .and_then(|stream| ask(stream, "result"));
    assert_eq!(
        written.expect("the way out is open"),
        "database 10.0.0.2 result"
    );
    assert_eq!(pod.exit_code(), Some(0));
}
