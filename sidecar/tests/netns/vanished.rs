//! An upstream that vanishes without a word while a request waits for its answer.

use std::{net::TcpListener, thread};

use http_body_util::Empty;
use hyper::{Request, Response, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use crate::{
    harness::{PATIENCE, pod::Pod},
    soak::catalog::Services,
    soak::load::Speaks,
};

/// Soon enough for a test, and far sooner than TCP.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("NETTING_HTTP2_PING_INTERVAL", "300ms"),
    ("NETTING_HTTP2_PING_TIMEOUT", "300ms"),
];

/// Takes requests, says so, and never answers.
fn serve(listener: TcpListener, taken: oneshot::Sender<()>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async move {
            let set = listener.set_nonblocking(true);
            set.expect("a socket can be set so");
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            let (stream, _) = listener.accept().await.expect("the sidecar connects");
            let mut connection = h2::server::handshake(stream).await.expect("it speaks");
            let _request = connection.accept().await;
            let _ = taken.send(());
            // Its connection is served on: signs of life are answered.
            while connection.accept().await.is_some() {}
        });
    });
}

async fn ask() -> Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(Speaks::Http2.service()).await;
    let stream = TokioIo::new(stream.expect("the sidecar accepts"));
    let handshake = http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = handshake.expect("the sidecar speaks it");
    tokio::spawn(connection);
    // The service asks for others to be tried again.
    let request = Request::post("http://app.test/").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.expect("a good request"));
    let answer = timeout(PATIENCE, answer).await;
    answer.expect("it is in time").expect("it is answered")
}

#[test]
fn a_request_over_http2_does_not_wait_for_an_upstream_that_has_vanished() {
    let services = Services::new();
    services.publish(&[0]);
    let serving = services.clone();
    let pod = Pod::start_with(&ENVIRONMENT, move |listener| serving.serve(listener));
    let (taken, is_taken) = oneshot::channel();
    serve(pod.peer_listen(Speaks::Http2.endpoint(0)), taken);
    let answer = thread::scope(|scope| {
        let client = scope.spawn(|| {
            pod.run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime can be built");
                runtime.block_on(ask())
            })
        });
        let taken = is_taken.blocking_recv();
        taken.expect("the request gets there");
        pod.peer_vanishes();
        client.join().expect("it does not panic")
    });
    assert_eq!(answer.status(), 504);
    let said = "netting; error=connection_read_timeout; details=\"upstream_silent\"";
    assert_eq!(answer.headers()["proxy-status"], said);
}
