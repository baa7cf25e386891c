use std::{io, net::TcpListener};

use super::*;

fn target() -> SocketAddr {
    "10.0.0.1:80".parse().expect("a literal address")
}

/// Feeds all of it, byte by byte, and returns what was answered and what is to be written.
fn trickle(dialect: &mut dyn Dialect, bytes: &[u8]) -> anyhow::Result<(Vec<u32>, Vec<u8>)> {
    let (mut answered, mut reply) = (Vec::new(), Vec::new());
    for byte in bytes {
        let (more, written) = dialect.read(&[*byte])?;
        answered.extend(more);
        reply.extend(written);
    }
    Ok((answered, reply))
}

#[test]
fn an_http1_answer_that_is_not_a_good_one_is_an_error() {
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
    ] {
        let mut http1 = http1::Http1::new(target());
        http1.request();
        assert!(http1.read(answer.as_bytes()).is_err(), "{answer}");
    }
}

#[test]
fn http1_answers_are_numbered_as_the_requests_however_they_are_cut() {
    let mut http1 = http1::Http1::new(target());
    let (first, request) = http1.request();
    let (second, _) = http1.request();
    assert!(request.starts_with(b"GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n"));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\r\n\r\n.";
    let both = answer.repeat(2);
    let (answered, _) = trickle(&mut http1, both.as_bytes()).expect("good answers");
    assert_eq!(answered, [first, second]);
}

#[test]
fn an_http2_stream_that_fails_is_an_error() {
    let not_found = b"\0\0\x01\x01\x05\0\0\0\x01\x8d";
    let reset = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07";
    let goodbye = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for frame in [&not_found[..], reset, goodbye] {
        let mut http2 = http2::Http2::new(target());
        http2.request();
        assert!(http2.read(frame).is_err(), "{frame:?}");
    }
}

#[test]
fn http2_answers_end_with_their_streams_and_settings_and_pings_are_answered() {
    let mut http2 = http2::Http2::new(target());
    assert!(http2.greeting().starts_with(b"PRI * HTTP/2.0\r\n"));
    let (first, _) = http2.request();
    let (second, _) = http2.request();
    assert_eq!((first, second), (1, 3));
    let said = [
        &b"\0\0\0\x04\0\0\0\0\0"[..],
        b"\0\0\x08\x06\0\0\0\0\0pingpong",
        b"\0\0\x01\x01\x04\0\0\0\x03\x88",
        b"\0\0\x01\x01\x05\0\0\0\x01\x88",
        b"\0\0\x02\0\x01\0\0\0\x03ok",
    ]
    .concat();
    let (answered, reply) = trickle(&mut http2, &said).expect("good answers");
    assert_eq!(answered, [first, second]);
    assert_eq!(
        reply,
        b"\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\x01\0\0\0\0pingpong"
    );
}

#[test]
fn percentiles_are_those_of_the_sorted_latencies_and_none_has_none() {
    let latencies = (1..=100).rev().map(Duration::from_millis).collect();
    let expected = Latencies {
        requests: 100,
        p50: Duration::from_millis(50),
        p99: Duration::from_millis(99),
    };
    assert_eq!(percentiles(100, latencies), Some(expected));
    assert_eq!(percentiles(0, Vec::new()), None);
}

/// Answers each request, but makes the tenth wait.
fn serve(listener: &TcpListener, pause: Duration) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut request = [0; 256];
    for count in 1.. {
        if stream.read(&mut request)? == 0 {
            break;
        }
        if count == 10 {
            thread::sleep(pause);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

#[test]
fn a_pause_shows_in_all_the_requests_that_it_met() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = listener.local_addr().expect("it is bound");
    let pause = Duration::from_millis(100);
    let server = thread::spawn(move || serve(&listener, pause));
    let stream = TcpStream::connect(target).expect("it listens");
    let scenario = "http1-1".parse().expect("a scenario");
    // 120 requests, of which some 100 are due within the pause.
    let took = drive(vec![stream], target, scenario, 1000.0, pause * 6 / 5);
    let took = took.expect("all are answered");
    assert!(took.p99 >= pause * 9 / 10, "{took:?}");
    assert!(took.p50 >= pause / 5, "{took:?}");
    server.join().expect("no panic").expect("no error");
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = listener.local_addr().expect("it is bound");
    let stream = TcpStream::connect(target).expect("it listens");
    drop(listener.accept());
    let scenario = "http2-1x1".parse().expect("a scenario");
    let second = Duration::from_secs(1);
    assert!(drive(vec![stream], target, scenario, 10.0, second).is_err());
}
