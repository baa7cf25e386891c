//! TCP servers without HTTP: echo, speaks-first, hold and sink.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;

use crate::pod::Pod;
use crate::server::{self, ServerArgs};
use crate::terminate::Terminate;

/// A line longer than this is echoed in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What the server does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends back every byte; closes its side after the client closed its own.
    Echo,
    /// Sends `220 <pod> ready` at once, then every line as it's complete.
    SpeaksFirst,
    /// Reads and never answers, not even by closing: a client must give up by itself.
    Hold,
    /// Reads to the end, then sends the number of bytes as a line.
    Sink,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "tcp-echo",
            Self::SpeaksFirst => "speaks-first",
            Self::Hold => "hold",
            Self::Sink => "sink",
        }
    }
}

/// Runs the server until it's asked to end.
///
/// # Errors
///
/// The port can't be listened on.
pub async fn run(
    mode: Mode,
    args: &ServerArgs,
    pod: Pod,
    terminate: Terminate,
) -> anyhow::Result<ExitCode> {
    let listener = server::listen(mode.as_str(), args.port, &pod)?;
    let pod = Arc::new(pod);
    server::serve(
        listener,
        args.on_sigterm,
        terminate,
        |stream, _peer, _ending| {
            let pod = Arc::clone(&pod);
            async move {
                // A connection's error ends that connection, and its client sees it.
                let _ = handle(mode, &pod, stream).await;
            }
        },
    )
    .await;
    Ok(ExitCode::SUCCESS)
}

async fn handle(mode: Mode, pod: &Pod, mut stream: TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    match mode {
        Mode::Echo => {
            tokio::io::copy(&mut reader, &mut writer).await?;
        }
        Mode::SpeaksFirst => {
            let greeting = format!("220 {} ready\r\n", pod.pod);
            writer.write_all(greeting.as_bytes()).await?;
            echo_lines(BufReader::new(reader), BufWriter::new(&mut writer)).await?;
        }
        Mode::Hold => {
            tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
            std::future::pending::<()>().await;
        }
        Mode::Sink => {
            let length = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
            writer.write_all(format!("{length}\n").as_bytes()).await?;
        }
    }
    writer.shutdown().await
}

async fn echo_lines(
    mut reader: impl AsyncBufReadExt + Unpin,
    mut writer: impl AsyncWriteExt + Unpin,
) -> io::Result<()> {
    let mut line = Vec::new();
    while (&mut reader)
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await?
        > 0
    {
        writer.write_all(&line).await?;
        writer.flush().await?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
