//! The `httpGet` probe.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

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
        let (response, body) = ask(&request).await?;
        let status = response.status();
        if !(200..400).contains(&status.as_u16()) {
            return Err(format!(
                "HTTP probe failed with statuscode: {}: {body}",
                status.as_u16()
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
    let follow = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let location = response
        .headers()
        .get(LOCATION)
        .filter(|_| follow.contains(&response.status()));
    let uri: Uri = location?.to_str().ok()?.parse().ok()?;
    let tls = uri
        .scheme_str()
        .map_or(request.tls, |scheme| scheme == "https");
    let host = uri
        .host()
        .map(|host| host.trim_matches(['[', ']']).to_owned());
    let port = uri
        .port_u16()
        .or(host.as_ref().map(|_| if tls { 443 } else { 80 }));
    Some(Request {
        tls,
        host: host.unwrap_or_else(|| request.host.clone()),
        port: port.unwrap_or(request.port),
        path: uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: request.headers.clone(),
    })
}

async fn ask(request: &Request) -> Result<(Response<()>, String), String> {
    let Request { host, port, .. } = request;
    let stream = TcpStream::connect((host.as_str(), *port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))?;
    if !request.tls {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(trusting_config()?));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    exchange(stream, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: &Request,
) -> Result<(Response<()>, String), String> {
    let said = |error: hyper::Error| format!("Get {:?}: {error}", request.path);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let response = sender.send_request(message(request)?).await.map_err(said)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        // A body that is too long or breaks off doesn't change what the status says.
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Ok((Response::from_parts(parts, ()), text.unwrap_or_default()))
    };
    let answer = answered.await;
    connection.abort();
    answer
}

/// A header of the probe replaces the one that is there without it.
fn message(request: &Request) -> Result<http::Request<Empty<Bytes>>, String> {
    let host = if request.host.contains(':') {
        format!("[{}]:{}", request.host, request.port)
    } else {
        format!("{}:{}", request.host, request.port)
    };
    let path = if request.path.starts_with('/') {
        request.path.clone()
    } else {
        format!("/{}", request.path)
    };
    let mut message = http::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "kube-probe/1.36")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| format!("the probe makes no HTTP request: {error}"))?;
    for (name, value) in &request.headers {
        let wrong = || format!("header {name:?} can't be sent");
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        message.headers_mut().insert(name, value);
    }
    Ok(message)
}

fn trusting_config() -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// A probe asks whether a server answers, not who it is: the kubelet doesn't check either.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
