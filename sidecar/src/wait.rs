//! Waits until the sidecar of this pod is ready: what the kubelet runs in a regular
//! sidecar container as its `postStart` hook, before it starts the next container.
//!
//! Containers start in their order, and each waits for the hook of the one before
//! (<https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>). A
//! native sidecar needs no such thing: it has a startup probe.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Between two questions: the application waits for the answer.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// A sidecar that is there answers at once, with its reasons if it is not ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// More than the reasons for not being ready are long.
const ANSWER_BYTES_MAX: u64 = 4096;

/// The sidecar did not become ready in time.
#[derive(Debug, thiserror::Error)]
#[error("the sidecar is not ready after {waited:?}: {last}")]
pub struct NotReady {
    /// How long it was waited for.
    pub waited: Duration,
    /// What it said last, or why it said nothing.
    pub last: String,
}

/// Asks the admin port on loopback until it says that the sidecar is ready.
///
/// # Errors
/// If it does not within `timeout`.
pub fn until_ready(admin_port: u16, timeout: Duration) -> Result<(), NotReady> {
    let begun = Instant::now();
    loop {
        let answer = ask(admin_port);
        let last = match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => return Ok(()),
            Ok(answer) => body(&answer).to_owned(),
            Err(error) => error.to_string(),
        };
        let waited = begun.elapsed();
        if waited >= timeout {
            return Err(NotReady { waited, last });
        }
        thread::sleep(ASK_AGAIN.min(timeout - waited));
    }
}

/// A pod may have loopback addresses of one family only.
fn ask(port: u16) -> io::Result<String> {
    let over_v4 = ask_at((Ipv4Addr::LOCALHOST, port).into());
    over_v4.or_else(|error| ask_at((Ipv6Addr::LOCALHOST, port).into()).map_err(|_| error))
}

fn ask_at(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn body(answer: &str) -> &str {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    body.unwrap_or(answer).trim()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use axum::{Router, http::StatusCode, routing::get};
    use netting_runtime::admin;
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        (listener, port)
    }

    /// An admin server that is ready when it is told so.
    async fn admin() -> (u16, Arc<AtomicBool>) {
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = Arc::clone(&ready);
        let answer = async move || match is_ready.load(Ordering::Relaxed) {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready: catalog\n"),
        };
        let (listener, port) = listener().await;
        let router = Router::new().route("/ready", get(answer));
        tokio::spawn(admin::serve(listener, router));
        (port, ready)
    }

    async fn wait(port: u16, timeout: Duration) -> Result<(), NotReady> {
        let waiting = tokio::task::spawn_blocking(move || until_ready(port, timeout));
        waiting.await.expect("it does not panic")
    }

    #[tokio::test]
    async fn says_what_is_missing_when_time_is_over() {
        let (port, _) = admin().await;
        let refused = wait(port, Duration::ZERO).await;
        let refused = refused.expect_err("it is not ready");
        assert_eq!(refused.last, "not ready: catalog");
    }

    #[tokio::test]
    async fn says_so_when_nobody_listens() {
        let (closed, port) = listener().await;
        drop(closed);
        let refused = wait(port, Duration::ZERO).await;
        let refused = refused.expect_err("nobody is there");
        assert!(refused.last.contains("refused"), "{refused}");
    }

    #[tokio::test]
    async fn returns_once_the_sidecar_is_ready() {
        let (port, ready) = admin().await;
        let waiting = tokio::spawn(wait(port, Duration::from_secs(30)));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        ready.store(true, Ordering::Relaxed);
        let waited = waiting.await.expect("it does not panic");
        waited.expect("it is ready");
    }
}
