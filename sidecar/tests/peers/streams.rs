//! Directions of a connection end and stall each for itself.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    harness::namespace::dst,
    pods::{Pods, SERVICE},
    process::run,
};

/// Serves each connection on a thread of its own.
pub(crate) fn serve(
    listener: TcpListener,
    converse: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let converse = converse.clone();
            thread::spawn(move || converse(stream));
        }
    });
}

#[test]
fn what_netcat_sends_before_it_half_closes_is_answered() {
    let pods = Pods::new();
    serve(pods.server.listen(dst("0.0.0.0", 8080)), |mut stream| {
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        write!(stream, "you said {said}")
    });
    let ended = pods.same(
        &["hello", "GET / HTTP/1.1", "\u{16}\u{3}\u{1}", ""],
        |pods, said| {
            let nc = format!("printf %s '{said}' | nc -N {SERVICE} 8080");
            run(pods.client_command("sh").args(["-c", &nc]))
        },
    );
    assert_eq!(ended[0].stdout, "you said hello");
    assert_eq!(ended[3].stdout, "you said ");
}

#[test]
fn a_server_that_half_closes_first_still_hears_the_client() {
    let pods = Pods::new();
    let (heard, hears) = mpsc::channel();
    serve(
        pods.server.listen(dst("0.0.0.0", 8080)),
        move |mut stream| {
            stream.write_all(b"only this")?;
            stream.shutdown(Shutdown::Write)?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            heard.send(said).map_err(io::Error::other)
        },
    );
    let said = pods.same(&[()], |pods, ()| {
        let mut stream = pods.connect(8080);
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("it says something");
        stream.write_all(b"heard you").expect("it is still read");
        drop(stream);
        (answer, hears.recv().expect("it hears"))
    });
    assert_eq!(said[0], ("only this".to_owned(), "heard you".to_owned()));
}

#[test]
fn a_slow_reader_slows_its_writer_and_loses_nothing() {
    const MORE_THAN_ALL_BUFFERS_BYTES: u64 = 256 << 20;
    const STALLED_AFTER: Duration = Duration::from_millis(300);
    let pods = Pods::new();
    let (wrote, written) = mpsc::channel();
    serve(
        pods.server.listen(dst("0.0.0.0", 8080)),
        move |mut stream| {
            stream.read_exact(&mut [0])?;
            stream.set_write_timeout(Some(STALLED_AFTER))?;
            let block = [b'x'; 64 << 10];
            let mut bytes = 0;
            while bytes < MORE_THAN_ALL_BUFFERS_BYTES {
                match stream.write(&block) {
                    Ok(some) => bytes += some as u64,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            wrote.send(bytes).map_err(io::Error::other)
        },
    );
    pods.same(&[()], |pods, ()| {
        let mut stream = pods.connect(8080);
        stream.write_all(b"?").expect("it is read");
        let written = written.recv().expect("it writes");
        assert!(
            written < MORE_THAN_ALL_BUFFERS_BYTES,
            "nothing held it back"
        );
        let read = io::copy(&mut stream, &mut io::sink()).expect("it ends");
        assert_eq!(read, written);
    });
}

#[test]
fn an_answer_that_breaks_off_arrives_as_far_as_it_went() {
    const BYTES: usize = 400_000;
    let pods = Pods::new();
    let (wrote, written) = mpsc::channel();
    serve(
        pods.server.listen(dst("0.0.0.0", 8080)),
        move |mut stream| {
            SockRef::from(&stream).set_send_buffer_size(2 * BYTES)?;
            stream.read_exact(&mut [0; 5])?;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * BYTES);
            stream.write_all(head.as_bytes())?;
            stream.write_all(&vec![b'x'; BYTES])?;
            stream.shutdown(Shutdown::Write)?;
            wrote.send(()).map_err(io::Error::other)?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        },
    );
    pods.same(&[()], |pods, ()| {
        let mut stream = pods.connect(8080);
        SockRef::from(&stream)
            .set_recv_buffer_size(8 << 10)
            .expect("a socket can be set so");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("it is read");
        // All that can be sent is on its way before any of it is read.
        written.recv().expect("it writes");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.iter().filter(|byte| **byte == b'x').count()
    });
}
