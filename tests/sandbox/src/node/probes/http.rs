//! The `httpGet` probe.

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;

use crate::outgoing::{self, Security};

const REDIRECTS_MAX: usize = 10;

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

/// Succeeds on a status of 200 to 399. Redirects are followed on the same host; one to another host
/// is a success, for it says nothing about this one.
///
/// # Errors
/// What was answered instead, or why nothing was.
pub(super) async fn get(request: &Request) -> Result<(), String> {
    let mut request = request.clone();
    for _ in 0..REDIRECTS_MAX {
        let response = ask(&request).await?;
        let status = response.status().as_u16();
        if !(200..400).contains(&status) {
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
                .collect()
                .await;
            // A body that is too long or breaks off doesn't change what the status says.
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            return Err(format!(
                "HTTP probe failed with statuscode: {status}: {body}"
            ));
        }
        match redirect(&request, &response) {
            Some(next) if next.host == request.host => request = next,
            _ => return Ok(()),
        }
    }
    Err(format!("stopped after {REDIRECTS_MAX} redirects"))
}

fn redirect<B>(request: &Request, response: &Response<B>) -> Option<Request> {
    let follow = [301, 302, 303, 307, 308].contains(&response.status().as_u16());
    let location = response.headers().get(LOCATION).filter(|_| follow);
    let uri: Uri = location?.to_str().ok()?.parse().ok()?;
    let tls = uri
        .scheme_str()
        .map_or(request.tls, |scheme| scheme == "https");
    let host = uri
        .host()
        .map(|host| host.trim_matches(['[', ']']).to_owned());
    let default_port = host.as_ref().map(|_| if tls { 443 } else { 80 });
    Some(Request {
        tls,
        port: uri.port_u16().or(default_port).unwrap_or(request.port),
        host: host.unwrap_or_else(|| request.host.clone()),
        path: uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: request.headers.clone(),
    })
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

    /// Serves each connection the next of `answers`, and returns what was asked.
    async fn asked(answers: &'static [&'static str]) -> (Result<(), String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.expect("a request");
                requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
            requests
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
        let (result, _) = asked(&["HTTP/1.1 503 X\r\nContent-Length: 5\r\n\r\nsorry"]).await;
        assert_eq!(
            result,
            Err("HTTP probe failed with statuscode: 503: sorry".to_owned())
        );
        assert!(asked(&["hello\r\n\r\n"]).await.0.is_err());
        assert!(asked(&[""]).await.0.is_err());
    }

    #[tokio::test]
    async fn asks_as_the_kubelet_does() {
        let (result, requests) = asked(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
        assert_eq!(result, Ok(()));
        let request = requests[0].to_ascii_lowercase();
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

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_only() {
        let (result, requests) = asked(&[
            "HTTP/1.1 302 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
        ])
        .await;
        assert!(result.is_err());
        assert!(requests[1].starts_with("GET /other "));
        let elsewhere =
            "HTTP/1.1 302 X\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(asked(Box::leak(Box::new([elsewhere]))).await.0, Ok(()));
    }
}
