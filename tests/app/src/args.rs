//! The command line: one subcommand for each thing a workload can do to a mesh.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::admit::AdmitArgs;
use crate::duration::parse_duration;
use crate::fetch::FetchArgs;
use crate::http::HttpArgs;
use crate::load::LoadArgs;
use crate::server::ServerArgs;
use crate::tcp_send::TcpSendArgs;

/// A small multi-purpose application to deploy in tests of a service mesh.
///
/// Flags that say so take their default from an environment variable. Durations are written with
/// their unit: 250ms, 10s, 5m, 1h; 0 needs none.
#[derive(Debug, Parser)]
#[command(name = "netting-test-app", version)]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub command: Command,
}

/// The modes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// HTTP/1.1 server that answers with what it saw, as JSON
    ///
    /// Any path: the pod, its version, method, path, headers, body and peer address.
    /// /healthz: 200 or 503; PUT /healthz?ready=false switches it.
    /// /stats: requests served, open connections.
    /// /slow?ms=N: answers after N milliseconds. /bytes?n=N: N bytes. /status/503: that status.
    #[command(verbatim_doc_comment)]
    Http(HttpArgs),
    /// gRPC server with the standard health service alone (grpc.health.v1)
    ///
    /// The service "" and "well" are SERVING, "sick" is not; others are NOT_FOUND.
    #[command(verbatim_doc_comment)]
    GrpcHealth(ServerArgs),
    /// TCP server that sends back what it gets, and closes its side when the client closed its own
    TcpEcho(ServerArgs),
    /// TCP server that greets before the client said anything (like SMTP), then echoes lines
    SpeaksFirst(ServerArgs),
    /// TCP server that accepts, reads and never answers
    Hold(ServerArgs),
    /// TCP server that reads to the end, then answers with the number of bytes it got
    Sink(ServerArgs),
    /// Admission webhook that puts a container before all others of each pod, over HTTPS
    ///
    /// Its certificate is written to standard output, in the line of the event "certificate".
    Admit(AdmitArgs),
    /// HTTP client that sends requests at a fixed rate and keeps count of what became of them
    Load(LoadArgs),
    /// HTTP client for one request: prints the body, exits 0 if the status is 2xx
    Fetch(FetchArgs),
    /// TCP client: sends a text, closes its side, prints all of the answer
    TcpSend(TcpSendArgs),
    /// Prints the pod's name and exits 0 at once, as a Job or an init container does
    Once,
    /// Does nothing until SIGTERM, then exits 0
    Sleep(SleepArgs),
}

/// Flags of `sleep`.
#[derive(Debug, clap::Args)]
pub struct SleepArgs {
    /// Exit 0 after this long; 0 is for ever
    #[arg(default_value = "0", value_parser = parse_duration)]
    pub duration: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refusal(args: &[&str]) -> String {
        let args = [&["netting-test-app"], args].concat();
        Args::try_parse_from(args)
            .expect_err("these arguments are wrong")
            .to_string()
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        let durations = refusal(&["sleep", "10"]);
        assert!(durations.contains("ms, s, m or h"), "{durations}");
        let policies = refusal(&["http", "--on-sigterm", "ignore"]);
        assert!(policies.contains("linger=5s"), "{policies}");
        let urls = refusal(&["fetch", "https://echo.demo/"]);
        assert!(urls.contains("only http://"), "{urls}");
        let rates = refusal(&["load", "--url", "http://echo/", "--rate", "0"]);
        assert!(rates.contains("requests a second"), "{rates}");
        let targets = refusal(&["tcp-send", "echo", "hello"]);
        assert!(targets.contains("HOST:PORT"), "{targets}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn reads_the_whole_load_command() {
        let line = "netting-test-app load --url http://echo.demo:8080/ --rate 200 --concurrency 64 \
                    --duration 10s --timeout 2s --new-connection-per-request --retry-connect --fail";
        let args = Args::try_parse_from(line.split_whitespace()).expect("documented flags");
        let Command::Load(load) = args.command else {
            panic!("not load: {args:?}");
        };
        assert_eq!(load.url.authority(), "echo.demo:8080");
        assert_eq!(load.duration, Duration::from_secs(10));
        assert!(load.new_connection_per_request && load.retry_connect && load.fail);
    }
}
