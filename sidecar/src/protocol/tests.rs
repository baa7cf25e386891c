use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
};

use super::*;
use crate::{connect::Connector, http::idle::Patience};

/// Long enough that a test which would wait for it hangs.
const NEVER: Duration = Duration::from_secs(1000);
const SOON: Duration = Duration::from_millis(20);
/// For a first word, too.
const PATIENCE: Patience = Patience {
    idle: Duration::from_millis(200),
    head: NEVER,
    draining: SOON,
    tcp_retries: 0,
};

/// The two sides of a proxy that looks at a connection.
struct Sides {
    client: TcpStream,
    downstream: TcpStream,
    server: TcpListener,
    dst: OriginalDst,
}

async fn sides() -> Sides {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    let dst = OriginalDst(addr(&server));
    let client = TcpStream::connect(addr(&listener))
        .await
        .expect("it listens");
    let (downstream, _) = listener.accept().await.expect("one connects");
    Sides {
        client,
        downstream,
        server,
        dst,
    }
}

fn finder(wait: Duration) -> Finder {
    let waiters = Rc::new(Waiters::new(PATIENCE));
    Finder::new("3306".parse().expect("a port"), wait, waiters)
}

async fn connect(dst: OriginalDst) -> Result<Upstream, ConnectError> {
    let connector = Connector {
        timeout: NEVER,
        pass_through_timeout: NEVER,
        user_timeout: None,
    };
    connector.original(dst).await
}

impl Sides {
    async fn find(&self, finder: &Finder, hint: Option<Hint>) -> Found {
        let found = finder.find(self.dst, hint, &self.downstream, async || {
            connect(self.dst).await
        });
        found.await.expect("the server is there")
    }
}

#[tokio::test]
async fn an_opaque_port_or_hint_is_not_looked_into() {
    let mut sides = sides().await;
    let http = b"GET / HTTP/1.1\r\n\r\n";
    sides.client.write_all(http).await.expect("it is connected");
    let found = sides.find(&finder(NEVER), Some(Hint::Opaque)).await;
    assert_eq!(found.protocol, Protocol::Opaque);
    sides.dst.0.set_port(3306);
    let found = sides.find(&finder(NEVER), None).await;
    assert_eq!(found.protocol, Protocol::Opaque);
    assert!(found.upstream.is_none());
}

#[tokio::test]
async fn the_clients_first_bytes_decide_and_stay_unread() {
    let mut sides = sides().await;
    let http = b"GET / HTTP/1.1\r\n\r\n";
    sides.client.write_all(http).await.expect("it is connected");
    let found = sides.find(&finder(NEVER), None).await;
    assert_eq!(found.protocol, Protocol::Http1);
    assert!(found.upstream.is_none());
    let mut read = [0; 18];
    let read = sides.downstream.read_exact(&mut read).await;
    assert_eq!(read.expect("all is there"), http.len());
}

#[tokio::test]
async fn bytes_that_trickle_are_put_together() {
    let mut sides = sides().await;
    let (mut client, downstream) = (sides.client, sides.downstream);
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\n" {
            client.write_all(&[*byte]).await.expect("it is connected");
            sleep(Duration::from_millis(2)).await;
        }
    };
    let finder = finder(NEVER);
    let find = finder.find(sides.dst, None, &downstream, async || {
        connect(sides.dst).await
    });
    let ((), found) = tokio::join!(trickle, find);
    assert_eq!(found.expect("it speaks").protocol, Protocol::Http1);
    sides.dst.0.set_port(0);
}

#[tokio::test]
async fn a_client_that_begins_and_stops_does_not_stall() {
    for hint in [None, Some(Hint::ClientFirst)] {
        let (finder, mut sides) = (finder(SOON), sides().await);
        sides.client.write_all(b"PING").await.expect("it connects");
        let server = async {
            let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
            let mut heard = [0; 4];
            server
                .read_exact(&mut heard)
                .await
                .expect("it is passed on");
            server.write_all(b"PONG").await.expect("it is connected");
            (server, heard)
        };
        let (found, (_server, heard)) = tokio::join!(sides.find(&finder, hint), server);
        assert_eq!((found.protocol, &heard), (Protocol::Opaque, b"PING"));
        assert_eq!((found.begun.passed_on(), found.begun.rest()), (4, &[][..]));
        assert!(!finder.server_spoke_first(sides.dst), "it answered");
    }
}

#[tokio::test]
async fn what_a_client_begins_and_goes_on_with_later_is_found_out() {
    for (slow, protocol) in [
        (&b"GET / HTTP/1.1\r\n"[..], Protocol::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2),
        (b"GET / or else\r\n", Protocol::Opaque),
    ] {
        let (finder, mut sides) = (finder(SOON), sides().await);
        let (dst, downstream) = (sides.dst, sides.downstream);
        let find = finder.find(dst, None, &downstream, async || connect(dst).await);
        let (early, late) = slow.split_at(5);
        let talk = async {
            sides.client.write_all(early).await.expect("it connects");
            let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
            let mut heard = [0; 5];
            server
                .read_exact(&mut heard)
                .await
                .expect("it is passed on");
            assert_eq!(heard, early);
            sides.client.write_all(late).await.expect("it is connected");
            server
        };
        let (found, _server) = tokio::join!(find, talk);
        let found = found.expect("the server is there");
        assert_eq!(found.protocol, protocol);
        assert_eq!((found.begun.passed_on(), found.begun.bytes()), (5, slow));
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_needs_no_more() {
    let mut sides = sides().await;
    sides.client.write_all(b"QUI").await.expect("it connects");
    sides.client.shutdown().await.expect("it is connected");
    let found = sides.find(&finder(NEVER), None).await;
    assert_eq!(found.protocol, Protocol::Opaque);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_known_by_it_and_remembered() {
    let (finder, sides) = (finder(SOON), sides().await);
    let server = async {
        let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
        server.write_all(b"220 smtp\r\n").await.expect("it reads");
        server
    };
    let (found, server) = tokio::join!(sides.find(&finder, None), server);
    assert_eq!(found.protocol, Protocol::Opaque);
    let mut upstream = found.upstream.expect("it was connected").stream;
    let mut said = [0; 10];
    upstream.read_exact(&mut said).await.expect("it is unread");
    assert_eq!(&said, b"220 smtp\r\n");
    // The next one isn't waited for.
    let found = sides.find(&finder, None).await;
    assert_eq!(found.protocol, Protocol::Opaque);
    assert!(found.upstream.is_none());
    drop(server);
}

/// What a server of HTTP/2 says first, in one frame with one setting.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";

#[tokio::test]
async fn a_server_whose_settings_come_first_leaves_it_to_the_client_what_is_spoken() {
    for (said, protocol) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], Protocol::Http2),
        (b"GET / HTTP/1.1\r\n", Protocol::Http1),
        (b"or else", Protocol::Opaque),
    ] {
        let (finder, mut sides) = (finder(SOON), sides().await);
        let (heard, has_heard) = oneshot::channel();
        let (dst, downstream) = (sides.dst, sides.downstream);
        let find = finder.find(dst, None, &downstream, async || {
            let upstream = connect(dst).await?;
            let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
            server.write_all(SETTINGS).await.expect("it is connected");
            upstream.stream.readable().await.expect("it is connected");
            heard.send(server).expect("the client waits");
            Ok(upstream)
        });
        let client = async {
            let mut server = has_heard.await.expect("the proxy connects meanwhile");
            // There is more, which is no more of a decision.
            let update = b"\0\0\x04\x08\0\0\0\0\0\0\x01\0\0";
            server.write_all(update).await.expect("it is connected");
            sides.client.write_all(said).await.expect("it is connected");
            server
        };
        let (found, _server) = tokio::join!(find, client);
        let found = found.expect("the server is there");
        assert_eq!(found.protocol, protocol);
        assert_eq!((found.begun.passed_on(), found.begun.bytes()), (0, said));
        assert!(!finder.server_spoke_first(dst));
        let mut upstream = found.upstream.expect("it was connected").stream;
        let mut first = [0; SETTINGS.len()];
        upstream.read_exact(&mut first).await.expect("it is unread");
        assert_eq!(first, SETTINGS);
    }
}

#[tokio::test]
async fn a_server_that_ends_after_its_settings_gets_nothing_of_what_comes_later() {
    let (finder, mut sides) = (finder(SOON), sides().await);
    let (ended, has_ended) = oneshot::channel();
    let (dst, downstream) = (sides.dst, sides.downstream);
    let find = finder.find(dst, None, &downstream, async || {
        let upstream = connect(dst).await?;
        let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
        server.write_all(SETTINGS).await.expect("it is connected");
        server.shutdown().await.expect("it is connected");
        upstream.stream.readable().await.expect("it is connected");
        ended.send(server).expect("the client waits");
        Ok(upstream)
    });
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let client = async {
        let server = has_ended.await.expect("the proxy connects meanwhile");
        let wrote = sides.client.write_all(preface).await;
        wrote.expect("it is connected");
        server
    };
    let (found, _server) = tokio::join!(find, client);
    let found = found.expect("the server was there");
    assert_eq!(found.protocol, Protocol::Http2);
    assert!(found.upstream.is_none(), "nothing may be sent to it");
}

#[test]
fn only_a_frame_of_settings_is_one() {
    use super::look::may_be_settings;
    for (head, is) in [
        (b"\0\0\0\x04\0\0\0\0\0", true),
        (b"\0\0\x12\x04\0\0\0\0\0", true),
        (b"\0\x3f\xfc\x04\0\0\0\0\0", true),
        // More than a frame holds.
        (b"\0\x40\x02\x04\0\0\0\0\0", false),
        (b"\x01\0\x02\x04\0\0\0\0\0", false),
        (b"\0\0\x07\x04\0\0\0\0\0", false),
        (b"\0\0\0\x04\x01\0\0\0\0", false),
        (b"\0\0\0\x04\0\0\0\0\x01", false),
        (b"\0\0\x06\x06\0\0\0\0\0", false),
        // MariaDB's, and that of SSH.
        (b"\x5a\0\0\0\x0a5.5.", false),
        (b"SSH-2.0-O", false),
    ] {
        assert_eq!(may_be_settings(head), is, "{head:?}");
        // A part of one may become one.
        for length in 0..head.len() {
            assert!(!is || may_be_settings(&head[..length]), "{head:?}");
        }
    }
    for begin in [
        &b"S"[..],
        b"2",
        b"\x5a",
        b"\0\x41",
        b"\0\0\x07",
        b"\0\0\0\x05",
    ] {
        assert!(!may_be_settings(begin), "{begin:?}");
    }
}

#[tokio::test]
async fn a_greeting_that_may_become_settings_and_does_not_reaches_the_client() {
    let (finder, sides) = (finder(SOON), sides().await);
    let server = async {
        let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
        // A number of four bytes, and now it is the client's turn.
        server.write_all(&[0, 0, 0, 4]).await.expect("it reads");
        server
    };
    let (found, _server) = tokio::join!(sides.find(&finder, None), server);
    assert_eq!(found.protocol, Protocol::Opaque);
    let mut upstream = found.upstream.expect("it was connected").stream;
    let mut said = [0; 4];
    upstream.read_exact(&mut said).await.expect("it is unread");
    assert_eq!(said, [0, 0, 0, 4]);
    let habit = finder.server_spoke_first(sides.dst);
    assert!(!habit, "settings that are late may begin so too");
}

#[tokio::test]
async fn an_upstream_whose_words_trickle_is_understood() {
    use super::look::{Heard, hears};
    for (said, is_settings) in [(SETTINGS, true), (&SETTINGS[..8], false), (b"\0\0a", false)] {
        let Sides {
            client: mut server,
            downstream: upstream,
            ..
        } = sides().await;
        let trickle = async {
            for byte in said {
                server.write_all(&[*byte]).await.expect("it is connected");
                sleep(Duration::from_millis(2)).await;
            }
            // What has not come by now does not come.
            if !is_settings {
                server.shutdown().await.expect("it is connected");
            }
        };
        let (heard, ()) = tokio::join!(hears(&upstream, NEVER), trickle);
        match heard {
            Heard::Settings => assert!(is_settings, "{said:?}"),
            Heard::Words { are_a_habit } => assert!(are_a_habit && !is_settings, "{said:?}"),
            Heard::End | Heard::Break => panic!("{said:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_not_one_that_speaks_first() {
    for last_word in [&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..], b""] {
        let (finder, sides) = (finder(SOON), sides().await);
        let server = async {
            let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
            server.write_all(last_word).await.expect("it reads");
        };
        let (found, ()) = tokio::join!(sides.find(&finder, None), server);
        assert_eq!(found.protocol, Protocol::Opaque);
        assert!(!finder.server_spoke_first(sides.dst));
    }
}

#[tokio::test]
async fn a_client_that_speaks_late_is_still_found_out() {
    let (finder, mut sides) = (finder(SOON), sides().await);
    let (connected, is_connected) = oneshot::channel();
    let (dst, downstream) = (sides.dst, sides.downstream);
    let find = finder.find(dst, None, &downstream, async || {
        let upstream = connect(dst).await;
        connected.send(()).expect("the client waits");
        upstream
    });
    let client = async {
        is_connected.await.expect("the proxy connects meanwhile");
        let http = b"GET / HTTP/1.1\r\n\r\n";
        sides.client.write_all(http).await.expect("it is connected");
    };
    let (found, ()) = tokio::join!(find, client);
    let found = found.expect("the server is there");
    assert_eq!(found.protocol, Protocol::Http1);
    assert!(found.upstream.is_some());
}

#[tokio::test]
async fn a_client_that_speaks_after_its_upstream_hung_up_gets_another() {
    let (finder, mut sides) = (finder(SOON), sides().await);
    let (hung_up, has_hung_up) = oneshot::channel();
    let (dst, downstream) = (sides.dst, sides.downstream);
    let find = finder.find(dst, None, &downstream, async || {
        let upstream = connect(dst).await?;
        let (server, _) = sides.server.accept().await.expect("the proxy connects");
        drop(server);
        upstream.stream.readable().await.expect("it hung up");
        hung_up.send(()).expect("the client waits");
        Ok(upstream)
    });
    let client = async {
        has_hung_up.await.expect("the proxy connects meanwhile");
        let http = b"GET / HTTP/1.1\r\n\r\n";
        sides.client.write_all(http).await.expect("it is connected");
    };
    let (found, ()) = tokio::join!(find, client);
    let found = found.expect("the server was there");
    assert_eq!(found.protocol, Protocol::Http1);
    assert!(found.upstream.is_none(), "nothing may be sent to it");
}

#[tokio::test]
async fn a_client_that_goes_on_after_its_upstream_hung_up_gets_another() {
    let (finder, mut sides) = (finder(SOON), sides().await);
    let (dst, downstream) = (sides.dst, sides.downstream);
    let find = finder.find(dst, None, &downstream, async || connect(dst).await);
    let http = b"GET / HTTP/1.1\r\n\r\n";
    let talk = async {
        sides
            .client
            .write_all(&http[..5])
            .await
            .expect("it connects");
        let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
        let mut heard = [0; 5];
        let read = server.read_exact(&mut heard).await;
        read.expect("it is passed on");
        drop(server);
        sides
            .client
            .write_all(&http[5..])
            .await
            .expect("it is connected");
    };
    let (found, ()) = tokio::join!(find, talk);
    let found = found.expect("the server was there");
    assert_eq!(found.protocol, Protocol::Http1);
    assert_eq!(
        (found.begun.passed_on(), found.begun.bytes()),
        (0, &http[..])
    );
}

/// Looks after connections that wait, until one is given up.
async fn given_up(finder: &Finder, find: impl Future<Output = Result<Found, Unfound>>) -> Reason {
    let look = async {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE.idle * 50 {
            sleep(SOON / 2).await;
            finder.waiters.look();
        }
    };
    let found = tokio::select! {
        found = find => found,
        () = look => panic!("nobody gives it up"),
    };
    match found {
        Err(Unfound::Unused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_on_which_nobody_speaks_is_given_up_whatever_is_known_of_it() {
    for hint in [None, Some(Hint::ClientFirst)] {
        let (finder, sides) = (finder(SOON), sides().await);
        let find = || {
            finder.find(sides.dst, hint, &sides.downstream, async || {
                connect(sides.dst).await
            })
        };
        assert_eq!(given_up(&finder, find()).await, Reason::IdleTimeout);
        finder.waiters.drain();
        assert_eq!(given_up(&finder, find()).await, Reason::Draining);
    }
}

#[tokio::test]
async fn a_client_that_has_begun_is_not_given_up() {
    let (finder, mut sides) = (finder(SOON), sides().await);
    finder.waiters.drain();
    sides.client.write_all(b"PING").await.expect("it connects");
    let server = async {
        let (mut server, _) = sides.server.accept().await.expect("the proxy connects");
        let mut heard = [0; 4];
        server
            .read_exact(&mut heard)
            .await
            .expect("it is passed on");
        let waits = Instant::now();
        while waits.elapsed() < PATIENCE.idle * 2 {
            sleep(SOON).await;
            finder.waiters.look();
        }
        server.write_all(b"PONG").await.expect("it is connected");
        server
    };
    let (found, _server) = tokio::join!(sides.find(&finder, None), server);
    assert_eq!(found.protocol, Protocol::Opaque);
}
