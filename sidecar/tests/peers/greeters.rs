//! Servers that speak first.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use crate::{harness::namespace::dst, pods::Pods, process::run, python, streams::serve};

/// As much of SMTP (RFC 5321) as one mail needs.
fn smtp(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"220 mail.test ESMTP\r\n")?;
    let mut in_data = false;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        let answer = match verb {
            "." => "250 taken",
            _ if in_data => continue,
            "ehlo" => "250-mail.test\r\n250 SIZE 1000000",
            "data" => "354 go on",
            "quit" => "221 bye",
            "mail" | "rcpt" => "250 fine",
            _ => "500 what",
        };
        in_data = verb == "data";
        write!(stream, "{answer}\r\n")?;
        if verb == "quit" {
            break;
        }
    }
    Ok(())
}

#[test]
fn a_mail_is_sent_by_smtp() {
    let pods = Pods::new();
    serve(pods.server.listen(dst("0.0.0.0", 25)), smtp);
    // The second one goes to a destination that is known to speak first.
    let ended = pods.same(&["first", "second"], |pods, subject| {
        run(python::script(pods, "smtp_client.py").arg(subject))
    });
    assert_eq!(ended[0].code, Some(0), "{ended:?}");
    assert!(ended[0].stdout.contains("(221, b'bye')"), "{ended:?}");
}

#[test]
fn a_banner_is_read_by_a_client_that_stays_silent() {
    let pods = Pods::new();
    serve(pods.server.listen(dst("0.0.0.0", 22)), |mut stream| {
        stream.write_all(b"SSH-2.0-test\r\n")?;
        let mut hello = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut hello)?;
        write!(stream, "hello {hello}")
    });
    let answers = pods.same(&[1, 2, 3], |pods, _| {
        let mut stream = pods.connect(22);
        let mut banner = [0; 14];
        stream.read_exact(&mut banner).expect("it speaks first");
        stream.write_all(b"SSH-2.0-client\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        (banner, answer)
    });
    assert_eq!(answers[0].1, "hello SSH-2.0-client\r\n");
}

#[test]
fn both_sides_may_speak_at_once() {
    let pods = Pods::new();
    serve(pods.server.listen(dst("0.0.0.0", 22)), |mut stream| {
        stream.write_all(b"SSH-2.0-test\r\n")?;
        let mut hello = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut hello)?;
        write!(stream, "hello {hello}")
    });
    let answers = pods.same(&[1, 2], |pods, _| {
        let mut stream = pods.connect(22);
        stream.write_all(b"SSH-2.0-client\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    });
    assert_eq!(answers[0], "SSH-2.0-test\r\nhello SSH-2.0-client\r\n");
}
