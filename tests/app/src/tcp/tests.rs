use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

/// A client's end of a connection that `mode` serves.
async fn connect(mode: Mode) -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection comes");
        let pod = Pod {
            pod: "smtp-0".to_owned(),
            version: "v1".to_owned(),
        };
        let _ = handle(mode, &pod, stream).await;
    });
    TcpStream::connect(addr).await.expect("it's accepted")
}

async fn text_of(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.expect("an answer");
    String::from_utf8(bytes).expect("it's text")
}

#[tokio::test]
async fn hold_never_answers_nor_closes() {
    let mut stream = connect(Mode::Hold).await;
    stream.write_all(b"anybody?").await.expect("it reads");
    stream.shutdown().await.expect("our side closes");
    let answer = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
    assert!(answer.is_err(), "it answered: {answer:?}");
}

#[tokio::test]
async fn echo_sends_everything_back_before_it_closes() {
    let mut stream = connect(Mode::Echo).await;
    stream.write_all(b"ping").await.expect("it reads");
    assert_eq!(text_of(&mut stream, 4).await, "ping");
    // More than both sockets' buffers hold, so that reading and writing must go on together.
    let much = vec![b'x'; 32 << 20];
    let (mut reader, mut writer) = stream.into_split();
    let expected = much.len() as u64;
    let sender = tokio::spawn(async move {
        writer.write_all(&much).await.expect("it reads");
        writer.shutdown().await.expect("our side closes");
    });
    let echoed = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    assert_eq!(echoed.expect("closed in order"), expected);
    sender.await.expect("all was sent");
}

#[tokio::test]
async fn speaks_first_greets_a_silent_client_and_echoes_whole_lines() {
    let mut stream = connect(Mode::SpeaksFirst).await;
    assert_eq!(text_of(&mut stream, 18).await, "220 smtp-0 ready\r\n");
    stream.write_all(b"HE").await.expect("it reads");
    let half = tokio::time::timeout(Duration::from_millis(20), stream.read_u8()).await;
    assert!(half.is_err(), "half a line was echoed: {half:?}");
    stream.write_all(b"LO\nQUIT").await.expect("it reads");
    assert_eq!(text_of(&mut stream, 5).await, "HELO\n");
    stream.shutdown().await.expect("our side closes");
    assert_eq!(text_of(&mut stream, 4).await, "QUIT");
    assert!(stream.read_u8().await.is_err(), "the server closes too");
}

#[tokio::test]
async fn a_line_without_end_takes_no_memory_without_end() {
    let mut stream = connect(Mode::SpeaksFirst).await;
    text_of(&mut stream, 18).await;
    let length = usize::try_from(LINE_BYTES_MAX).expect("a small constant");
    stream
        .write_all(&vec![b'x'; length])
        .await
        .expect("it reads");
    assert_eq!(text_of(&mut stream, length).await.len(), length);
}

#[tokio::test]
async fn sink_counts_to_the_end() {
    let mut stream = connect(Mode::Sink).await;
    stream.write_all(&[0; 100_000]).await.expect("it reads");
    stream.shutdown().await.expect("our side closes");
    assert_eq!(text_of(&mut stream, 7).await, "100000\n");
}
