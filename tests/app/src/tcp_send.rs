//! One TCP conversation: everything said at once, then everything heard.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::client::names::Names;
use crate::client::target::Target;
use crate::client::{connect, deadline_in};
use crate::duration::parse_duration;

/// Flags of `tcp-send`.
#[derive(Debug, clap::Args)]
pub struct TcpSendArgs {
    /// Whom to send to, such as `echo.demo:9000` or `[fd00::7]:9000`
    #[arg(value_name = "HOST:PORT")]
    pub target: Target,

    /// What to send, as it is, before closing this side of the connection; may be empty
    pub text: String,

    /// Time for all of it
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// Prints the answer. Exit code 0 if the server closed in order and in time.
///
/// # Errors
///
/// What kept the answer from being complete; the part that came is printed all the same.
pub async fn run(args: TcpSendArgs) -> anyhow::Result<ExitCode> {
    let mut answer = Vec::new();
    let conversed = converse(&args, &mut answer).await;
    let _ = io::stdout().lock().write_all(&answer);
    conversed.map(|()| ExitCode::SUCCESS)
}

async fn converse(args: &TcpSendArgs, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    let deadline = deadline_in(args.timeout);
    let mut stream = connect(&Names::default(), &args.target, deadline).await?;
    timeout_at(deadline, talk(&mut stream, args.text.as_bytes(), answer))
        .await
        .with_context(|| {
            format!(
                "no end of {}'s answer within {:?}",
                args.target, args.timeout
            )
        })?
        .with_context(|| format!("talk to {}", args.target))
}

async fn talk(stream: &mut TcpStream, text: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    // Both at once: an echo of a long text would fill the buffers otherwise.
    let speak = async {
        writer.write_all(text).await?;
        writer.shutdown().await
    };
    tokio::try_join!(speak, reader.read_to_end(answer))?;
    Ok(())
}
