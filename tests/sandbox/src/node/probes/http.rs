//! The `httpGet` probe.

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;

use crate::outgoing::{self, Security};

/// Of an answer, for the event about a failure.
const BODY_BYTES_MAX: usize = 10 * 1024;

/// What to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

/// Succeeds on a status of 200 to 299. The kubelet follows redirects; here they are failures, for
/// nobody knows what it would have found.
///
/// # Errors
/// What was answered instead, or why nothing was.
pub(super) async fn get(request: &Request) -> Result<(), String> {
    let response = ask(request).await?;
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(());
    }
    if (300..400).contains(&status) {
        return Err(format!(
            "HTTP probe got a redirect (statuscode {status}), which this node doesn't follow"
        ));
    }
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    // A body that is too long or breaks off doesn't change what the status says.
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    Err(format!(
        "HTTP probe failed with statuscode: {status}: {body}"
    ))
}

/// Asks once. A probe asks whether a server answers, not who it is: the kubelet doesn't check either.
async fn ask(request: &Request) -> Result<Response<Body>, String> {
    let Request { host, port, .. } = request;
    let addr = outgoing::resolve(host, *port).await?;
    let security = if request.tls {
        Security::Unverified
    } else {
        Security::Plain
    };
    let answer = outgoing::send(addr, security, message(request)?).await;
    answer.map_err(|error| format!("Get {:?}: {error}", request.path))
}

/// A header of the probe replaces the one that is there without it.
fn message(request: &Request) -> Result<http::Request<Bytes>, String> {
    let host = if request.host.contains(':') {
        format!("[{}]:{}", request.host, request.port)
    } else {
        format!("{}:{}", request.host, request.port)
    };
    let mut message = http::Request::get(&request.path)
        .header(HOST, host)
        .header(USER_AGENT, "kube-probe/1.36")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Bytes::new())
        .map_err(|error| format!("the probe makes no HTTP request: {error}"))?;
    for (name, value) in &request.headers {
        let wrong = || format!("header {name:?} can't be sent");
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        message.headers_mut().insert(name, value);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves one connection this answer; what came of the probe, and what was asked.
    async fn asked(answer: &'static str) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let request = Request {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port,
            path: "/healthz?x".to_owned(),
            headers: vec![("Host".to_owned(), "example.org".to_owned())],
        };
        let result = get(&request).await;
        (result, server.await.expect("no panic"))
    }

    #[tokio::test]
    async fn a_bad_status_or_no_http_at_all_is_a_failure() {
        for (answer, why) in [
            (
                "HTTP/1.1 503 X\r\nContent-Length: 5\r\n\r\nsorry",
                "HTTP probe failed with statuscode: 503: sorry",
            ),
            (
                "HTTP/1.1 302 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
                "redirect",
            ),
            ("hello\r\n\r\n", "Get \"/healthz?x\": "),
            ("", "Get \"/healthz?x\": "),
        ] {
            let failed = asked(answer).await.0.expect_err(answer);
            assert!(failed.contains(why), "{failed}");
        }
    }

    #[tokio::test]
    async fn asks_as_the_kubelet_does() {
        let (result, request) = asked("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(result, Ok(()));
        let request = request.to_ascii_lowercase();
        assert!(
            request.starts_with("get /healthz?x http/1.1\r\n"),
            "{request}"
        );
        for line in [
            "host: example.org",
            "user-agent: kube-probe/1.36",
            "connection: close",
        ] {
            assert!(request.contains(line), "{line} in {request}");
        }
    }
}
