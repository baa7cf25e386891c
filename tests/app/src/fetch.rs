//! One HTTP request: its body on standard output, its success as the exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;

use crate::client::exchange::{HttpConnection, read_body, request};
use crate::client::failure::{Failure, FailureKind};
use crate::client::names::Names;
use crate::client::target::HttpUrl;
use crate::client::{connect, deadline_in};
use crate::duration::parse_duration;

/// Flags of `fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch, such as `http://echo.demo:8080/` or `http://[fd00::7]:8080/stats`
    pub url: HttpUrl,

    /// The method, such as PUT for /healthz?ready=false
    #[arg(long, default_value = "GET")]
    pub method: Method,

    /// Times to try in all, until one succeeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub tries: u32,

    /// Time between two tries
    #[arg(long, default_value = "100ms", value_parser = parse_duration)]
    pub every: Duration,

    /// Time for each try, from resolving the name to the end of the body
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Wait for SIGTERM first, and then for so long, as who writes down its work at the end
    #[arg(long, value_parser = parse_duration)]
    pub after_sigterm: Option<Duration>,
}

/// Prints the body of the first answer that succeeds, or of the last one, and the reason of each
/// failure on standard error. Exit code 0 if the status was 2xx, else 1.
///
/// # Errors
///
/// None of its own: failed requests are an exit code.
pub async fn run(args: FetchArgs) -> anyhow::Result<ExitCode> {
    let names = Names::default();
    for left in (0..args.tries).rev() {
        let mut body = Vec::new();
        let outcome = fetch(&names, &args, &mut body).await;
        if outcome.is_ok() || left == 0 {
            let _ = std::io::stdout().lock().write_all(&body);
        }
        match outcome {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(failure) => eprintln!("netting-test-app: fetch {}: {failure}", args.url),
        }
        if left > 0 {
            tokio::time::sleep(args.every).await;
        }
    }
    Ok(ExitCode::FAILURE)
}

async fn fetch(names: &Names, args: &FetchArgs, body: &mut Vec<u8>) -> Result<(), Failure> {
    let deadline = deadline_in(args.timeout);
    let stream = connect(names, &args.url.target, deadline).await?;
    let mut connection = HttpConnection::new(stream).await?;
    let request = request(args.method.clone(), &args.url)?;
    let response = connection.send(request, deadline).await?;
    let status = response.status();
    read_body(response.into_body(), deadline, |data| {
        body.extend_from_slice(data);
    })
    .await?;
    match status.is_success() {
        true => Ok(()),
        false => Err(Failure::new(FailureKind::Status, status.to_string())),
    }
}
