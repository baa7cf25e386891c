//! Requests whose bodies come later than their heads, and that are sent again: the
//! client's proxy before endpoints that fail, with real sockets.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use netting_proto::v1;

use super::{
    policy::{BUSY, CLOSE, UNREACHED, meshed, on_503, retrying},
    *,
};

/// How much of the request under way an endpoint has had.
type Heard = Rc<Cell<usize>>;

/// A request as its client says it: each part once what came before has arrived.
struct Said(Vec<String>);

impl Said {
    fn of_length(method: &str, parts: &[usize]) -> Self {
        let length: usize = parts.iter().sum();
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let bodies = parts.iter().map(|length| "x".repeat(*length));
        Self([head].into_iter().chain(bodies).collect())
    }

    fn chunked(chunks: &[usize]) -> Self {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = |length: &usize| format!("{length:x}\r\n{}\r\n", "y".repeat(*length));
        let chunks = chunks.iter().map(chunk).chain(["0\r\n\r\n".to_owned()]);
        Self([head.to_owned()].into_iter().chain(chunks).collect())
    }

    fn whole(&self) -> String {
        self.0.concat()
    }

    fn head(&self) -> usize {
        self.0[0].len()
    }

    /// Says it, and returns what is answered.
    async fn ask(&self, chain: &Chain, heard: &Heard) -> String {
        heard.set(0);
        let mut client = chain.connect().await;
        let mut said = 0;
        for part in &self.0 {
            while heard.get() < said {
                tokio::task::yield_now().await;
            }
            say(&mut client, part).await;
            said += part.len();
        }
        let mut answer = [0; 12];
        let answered = client.read_exact(&mut answer).await;
        answered.expect("it is answered");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// An endpoint that answers so once it has had so much of a request, and hears the rest.
async fn after(bytes: usize, answer: &'static str, heard: &Heard) -> SocketAddr {
    let (listener, addr) = listen().await;
    let heard = Rc::clone(heard);
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = Rc::clone(&heard);
            spawn_local(async move {
                hear(&mut stream, bytes, &heard).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    addr
}

/// An endpoint that answers well what is exactly this.
async fn takes(request: String, heard: &Heard) -> SocketAddr {
    let (listener, addr) = listen().await;
    let heard = Rc::clone(heard);
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (request, heard) = (request.clone(), Rc::clone(&heard));
            spawn_local(async move {
                let came = hear(&mut stream, request.len(), &heard).await;
                let is_it = came == request.as_bytes();
                let other = "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n";
                let answer = if is_it { CLOSE } else { other };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    addr
}

async fn hear(stream: &mut TcpStream, bytes: usize, heard: &Heard) -> Vec<u8> {
    let mut came = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match stream.read(&mut came[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => break,
        }
        heard.set(filled.max(heard.get()));
    }
    came.truncate(filled);
    came
}

/// As many as it takes for both endpoints to be the first that is asked.
const OFTEN: usize = 20;

/// How often this fails, and is sent again, before one endpoint that fails so after so many
/// bytes and another that takes it.
async fn failures(
    said: &Said,
    (bytes, failure): (usize, &'static str),
    policy: v1::ServicePolicy,
) -> (usize, u64) {
    let heard = Heard::default();
    let failing = after(bytes, failure, &heard).await;
    let endpoints = [failing, takes(said.whole(), &heard).await];
    let chain = Chain::to_service(&endpoints, policy, Some(meshed())).await;
    let mut failures = 0;
    for _ in 0..OFTEN {
        match said.ask(&chain, &heard).await.as_str() {
            "HTTP/1.1 200" => {}
            answer if failure.starts_with(answer) => failures += 1,
            answer => panic!("{answer}"),
        }
    }
    (failures, chain.retries("response_unwanted"))
}

fn never_ejecting() -> v1::ServicePolicy {
    v1::ServicePolicy {
        eject_after: Some(0),
        ..Default::default()
    }
}

#[tokio::test(flavor = "local")]
async fn what_never_got_to_an_application_is_sent_elsewhere_with_all_that_was_kept() {
    for said in [
        Said::of_length("POST", &[2]),
        Said::of_length("POST", &[1, 0, 1]),
        Said::of_length("POST", &[20_000, 15_000, 5_960]),
        Said::chunked(&[5, 7]),
        Said::chunked(&[20_000, 20_000]),
    ] {
        let whole = said.whole().len();
        for bytes in [said.head(), whole - 1, whole] {
            let refused = (bytes, UNREACHED);
            let (failures, retries) = failures(&said, refused, never_ejecting()).await;
            assert_eq!(failures, 0, "{bytes} of {whole}");
            assert!(retries > 0, "some were sent there first");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn more_than_is_kept_is_not_sent_again() {
    for said in [
        Said::of_length("POST", &[20_000, 20_000, 20_000, 20_000]),
        Said::chunked(&[40_000, 40_000]),
    ] {
        let refused = (said.whole().len(), UNREACHED);
        let (failures, retries) = failures(&said, refused, never_ejecting()).await;
        assert!(failures > 0, "some were sent there first");
        assert_eq!(retries, 0);
        // It is so much only once it has come.
        let refused = (said.head(), UNREACHED);
        let (failures, retries) = self::failures(&said, refused, never_ejecting()).await;
        assert_eq!(failures, 0);
        assert!(retries > 0, "some were sent there first");
    }
}

#[tokio::test(flavor = "local")]
async fn a_body_that_came_late_is_sent_again_if_asked_and_only_what_is_idempotent() {
    let busy = |said: &Said| (said.whole().len(), BUSY);
    let put = Said::of_length("PUT", &[20_000, 20_000]);
    let (failed, retries) = failures(&put, busy(&put), retrying(on_503())).await;
    assert_eq!(failed, 0);
    assert!(retries > 0, "some were sent there first");
    let post = Said::of_length("POST", &[20_000, 20_000]);
    let (failed, retries) = failures(&post, busy(&post), retrying(on_503())).await;
    assert!(failed > 0, "some were sent there first");
    assert_eq!(retries, 0);
}

const EXPECT: &str =
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// An endpoint that asks for the body, and then answers so.
async fn continues(answer: &'static str) -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            expect(&mut stream, EXPECT).await;
            say(&mut stream, CONTINUE).await;
            expect(&mut stream, "hi").await;
            say(&mut stream, answer).await;
        }
    });
    addr
}

#[tokio::test(flavor = "local")]
async fn who_waits_to_be_told_to_go_on_is_told_by_the_endpoint_that_takes_it() {
    let endpoints = [
        after(EXPECT.len(), UNREACHED, &Heard::default()).await,
        continues(CLOSE).await,
    ];
    let chain = Chain::to_service(&endpoints, never_ejecting(), Some(meshed())).await;
    for _ in 0..OFTEN {
        let mut client = chain.connect().await;
        say(&mut client, EXPECT).await;
        expect(&mut client, CONTINUE).await;
        say(&mut client, "hi").await;
        expect(&mut client, "HTTP/1.1 200 OK\r\n").await;
    }
    assert!(chain.retries("response_unwanted") > 0);
}

#[tokio::test(flavor = "local")]
async fn what_a_client_was_told_to_go_on_with_is_not_sent_again() {
    let endpoints = [continues(BUSY).await, continues(BUSY).await];
    let chain = Chain::to_service(&endpoints, retrying(on_503()), None).await;
    let mut client = chain.connect().await;
    say(&mut client, EXPECT).await;
    expect(&mut client, CONTINUE).await;
    say(&mut client, "hi").await;
    expect(&mut client, "HTTP/1.1 503 Busy\r\n").await;
    assert_eq!(chain.retries("response_unwanted"), 0);
}
