//! Whether what was written has come to the peer's kernel.

use std::{io, os::fd::AsRawFd as _, time::Duration};

use tokio::{net::TcpStream, time::sleep};

/// Between two looks: the first pause, and the longest. An acknowledgement wakes nobody.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Waits until all of it has. A peer whose host is gone acknowledges nothing, and the kernel
/// would take what is written to it, and send it again, for a quarter of an hour
/// (`tcp_retries2`, tcp(7)).
///
/// # Errors
/// If the connection has ended.
pub(super) async fn all(stream: &TcpStream) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    while unacknowledged_bytes(stream)? > 0 {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Ok(())
}

/// What the peer's kernel has not said that it has.
#[allow(unsafe_code, reason = "no dependency knows how to ask for SIOCOUTQ")]
fn unacknowledged_bytes(stream: &TcpStream) -> io::Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the socket is open for as long as `stream` is borrowed, and SIOCOUTQ, which is
    // TIOCOUTQ's number (tcp(7)), writes one int.
    let asked = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match asked {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn is_known_once_a_reader_has_room_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        // The kernel acknowledges what there is room for; connections have the same.
        SockRef::from(&listener)
            .set_recv_buffer_size(4096)
            .expect("any size is admitted");
        let addr = listener.local_addr().expect("it is bound");
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        let (mut reader, _) = listener.accept().await.expect("a connection");
        stream.write_all(&[b'x'; 1024]).await.expect("it is there");
        all(&stream).await.expect("there is room");

        let rest = [b'x'; 16 * 1024];
        let written = stream.try_write(&rest).expect("a send buffer has room");
        let left = unacknowledged_bytes(&stream).expect("it is a socket");
        assert!(left > 0, "{written} bytes were written");
        let mut read = vec![0; 1024 + written];
        let (acknowledged, read) = tokio::join!(all(&stream), reader.read_exact(&mut read));
        read.expect("it all comes");
        acknowledged.expect("it has been read");
    }

    #[tokio::test]
    async fn is_never_known_of_a_connection_that_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        SockRef::from(&listener)
            .set_recv_buffer_size(4096)
            .expect("any size is admitted");
        let addr = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let (reader, _) = listener.accept().await.expect("a connection");
        stream.writable().await.expect("it is there");
        stream
            .try_write(&[b'x'; 16 * 1024])
            .expect("a send buffer has room");
        // Unread data makes a reset of the end.
        drop(reader);
        all(&stream).await.expect_err("it was reset");
    }
}
