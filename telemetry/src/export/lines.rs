//! Lines over TCP, to a reader that never answers.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    net::{Dialer, Stream},
    reason::{Failure, Reason},
};

/// Writes lines to one place.
pub(crate) struct Lines {
    dialer: Dialer,
    timeout: Duration,
    kept: Option<Stream>,
}

impl Lines {
    pub(crate) fn new(dialer: Dialer, timeout: Duration) -> Self {
        Self {
            dialer,
            timeout,
            kept: None,
        }
    }

    /// Writes them all, and waits for the reader's kernel to have them. After a failure they
    /// may be written again: the same value at the same time is the same.
    pub(crate) async fn write(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let limit = self.timeout;
        match timeout(limit, self.write_all(lines)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("{} does not take them", self.dialer.authority);
                Err(Failure::transient(Reason::Timeout, message))
            }
        }
    }

    async fn write_all(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let mut kept = self.kept.take();
        if let Some(stream) = &mut kept
            && !is_open(stream).await
        {
            kept = None;
        }
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.dialer.dial().await?,
        };
        let written = async {
            stream.write_all(lines).await?;
            stream.flush().await?;
            // The kernel takes them also for a reader whose host is gone.
            stream.acknowledged().await
        };
        written
            .await
            .map_err(|error| Failure::transient(Reason::Broken, error))?;
        self.kept = Some(stream);
        Ok(())
    }

    /// Says that there will be no more, and waits for the reader to have read it all.
    pub(crate) async fn close(&mut self) {
        if let Some(mut stream) = self.kept.take() {
            let closed = async {
                stream.shutdown().await?;
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(self.timeout, closed).await;
        }
    }
}

/// Whether the reader is still there, as far as one can know: what is written to a
/// connection that has ended is lost without an error.
async fn is_open(stream: &mut Stream) -> bool {
    let mut ignored = [0; 1024];
    tokio::select! {
        biased;
        // Somebody who talks to us is not who we think.
        _ = stream.read(&mut ignored) => false,
        () = std::future::ready(()) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Authority;

    async fn reader() -> (TcpListener, Lines) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let dialer = Dialer {
            authority: Authority {
                host: addr.ip().to_string(),
                port: addr.port(),
            },
            resolv_conf: Arc::new("/nowhere".into()),
            tls: None,
        };
        (listener, Lines::new(dialer, Duration::from_millis(500)))
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_connected_anew() {
        let (listener, mut lines) = reader().await;
        lines.write(b"a 1 1\n").await.expect("it is written");
        let (first, _) = listener.accept().await.expect("a connection");
        drop(first);
        // The end of the connection takes a moment to come, and may come as an error.
        loop {
            let _ = lines.write(b"a 2 2\n").await;
            let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
            if let Ok(second) = accepted {
                let (mut second, _) = second.expect("a connection");
                lines.close().await;
                let mut text = String::new();
                second.read_to_string(&mut text).await.expect("text");
                assert!(text.contains("a 2 2\n"), "{text}");
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_is_not_waited_for() {
        let (listener, mut lines) = reader().await;
        let block = vec![b'x'; 1024 * 1024];
        let failure = loop {
            if let Err(failure) = lines.write(&block).await {
                break failure;
            }
        };
        assert_eq!(failure.reason, Reason::Timeout);
        drop(listener);
    }
}
