//! Which host a request is for, field by field (RFC 9113 section 8.3.1).

use super::{
    rules::{GET_PREFIX, HEADERS, SETTINGS, frame, next_frame},
    *,
};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A field that is in no table (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

/// What comes of `GET /` with these fields: the host that the application sees, in either
/// place, or nothing if the request is refused.
async fn seen(fields: &[(&str, &str)]) -> Option<(String, Option<String>)> {
    let (listener, addr): (TcpListener, _) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client: TcpStream = chain.connect().await;
    let fields = fields.iter().flat_map(|(name, value)| field(name, value));
    let block = GET_PREFIX.iter().copied().chain(fields).collect::<Vec<_>>();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    hello.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    client.write_all(&hello).await.expect("it is connected");
    let refused = async {
        loop {
            let (kind, payload) = next_frame(&mut client).await.expect("it is answered");
            if kind == HEADERS {
                // `:status: 400`, of the static table.
                assert_eq!(payload[0], 0x8c, "{payload:?}");
                return;
            }
        }
    };
    let accepted = async {
        let (stream, _) = listener.accept().await.expect("the proxy connects");
        let mut connection = h2::server::handshake(stream).await.expect("it speaks");
        let (request, _respond) = connection.accept().await.expect("one").expect("good");
        let hosts = request.headers().get_all("host").iter();
        let hosts: Vec<_> = hosts.map(|host| host.to_str().expect("text")).collect();
        let hosts = (!hosts.is_empty()).then(|| hosts.join(" and "));
        let authority = request.uri().authority().expect("there is one");
        (authority.to_string(), hosts)
    };
    tokio::select! {
        () = refused => None,
        seen = accepted => Some(seen),
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_for_two_hosts_or_a_user_is_refused() {
    for fields in [
        &[(":authority", "a"), ("host", "b")][..],
        &[(":authority", "a"), ("host", "")],
        &[(":authority", "a:80"), ("host", "a:8080")],
        &[(":authority", "a"), ("host", "a"), ("host", "b")],
        &[(":authority", "a"), ("host", "a, b")],
        &[(":authority", "b@a")],
        &[(":authority", "b:c@a"), ("host", "b:c@a")],
        &[("host", "b@a")],
        &[("host", "a"), ("host", "a")],
        &[("host", "")],
        &[],
    ] {
        assert_eq!(seen(fields).await, None, "{fields:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_application_sees_one_host_however_often_it_is_named() {
    for (fields, authority, host) in [
        (&[(":authority", "a:80")][..], "a:80", None),
        (&[(":authority", "a"), ("host", "a")], "a", Some("a")),
        (&[(":authority", "a"), ("host", "A:80")], "a", None),
        (&[("host", "a")], "a", Some("a")),
    ] {
        let expected = (authority.to_owned(), host.map(str::to_owned));
        assert_eq!(seen(fields).await, Some(expected), "{fields:?}");
    }
}
