//! Answers of an application that two readers may take for different ones.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::harness::{PATIENCE, namespace::dst, pod::Pod};

/// Answers each request's head with the same bytes.
pub(crate) fn serve(listener: TcpListener, answer: &'static [u8]) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || -> io::Result<()> {
                while let Some(_head) = read_head(&mut stream)? {
                    stream.write_all(answer)?;
                }
                Ok(())
            });
        }
    });
}

/// Up to an empty line; none at the end of the connection.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn get(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn connect(pod: &Pod, port: u16) -> TcpStream {
    let stream = pod
        .peer_connect(dst("10.0.0.2", port))
        .expect("the sidecar accepts");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket can be set so");
    stream
}

#[test]
fn what_an_answer_has_too_much_is_no_answer_to_somebody_else() {
    let pod = Pod::start(&[]);
    serve(
        pod.listen(dst("10.0.0.2", 8080)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: foreign\r\n\r\n",
    );
    for client in 0..20 {
        let mut stream = connect(&pod, 8080);
        get(&mut stream).expect("it is read");
        let head = read_head(&mut stream).expect("it answers");
        let head = head.expect("it answers");
        assert!(!head.contains("foreign"), "client {client}: {head}");
    }
}

#[test]
fn the_answer_to_a_head_request_has_no_body_whatever_it_says() {
    let pod = Pod::start(&[]);
    serve(
        pod.listen(dst("10.0.0.2", 8080)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
    );
    let mut stream = connect(&pod, 8080);
    for _ in 0..3 {
        stream
            .write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("it is read");
        let head = read_head(&mut stream).expect("it answers");
        let head = head.expect("the connection stays").to_ascii_lowercase();
        assert!(head.contains("content-length: 500"), "{head}");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_answer_with_it() {
    let pod = Pod::start(&[]);
    serve(
        pod.listen(dst("10.0.0.2", 8080)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nnever whole",
    );
    for _ in 0..10 {
        let mut stream = connect(&pod, 8080);
        get(&mut stream).expect("it is read");
        read_head(&mut stream).expect("it answers");
        drop(stream);
    }
    let mut stream = connect(&pod, 8080);
    get(&mut stream).expect("it is read");
    let head = read_head(&mut stream).expect("it answers");
    assert!(head.is_some_and(|head| head.starts_with("HTTP/1.1 200 OK\r\n")));
    let mut begin = [0; 11];
    stream.read_exact(&mut begin).expect("it begins");
    assert_eq!(&begin, b"never whole");
}
