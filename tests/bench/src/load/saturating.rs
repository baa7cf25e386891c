//! As many requests as go, by the clients that everybody knows.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context as _, ensure};

use crate::{
    network::{self, Pod},
    scenario::{Protocol, Scenario},
};

/// What went through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Saturated {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
}

/// Runs wrk or h2load in `pod` for a while.
pub(crate) fn run(
    pod: &Pod,
    target: SocketAddr,
    scenario: Scenario,
    duration: Duration,
) -> anyhow::Result<Saturated> {
    let seconds = duration.as_secs().max(1).to_string();
    let connections = scenario.connections.to_string();
    let url = format!("http://{target}/");
    let mut command = pod.command(&[]);
    let parse = match scenario.protocol {
        Protocol::Http1 => {
            let (connections, duration) = (format!("-c{connections}"), format!("-d{seconds}s"));
            command.args(["wrk", "-t1", &connections, &duration, &url]);
            of_wrk
        }
        Protocol::Http2 => {
            let (clients, streams) = (
                format!("-c{connections}"),
                format!("-m{}", scenario.streams),
            );
            let duration = format!("-D{seconds}");
            command.args(["h2load", "-t1", &clients, &streams, &duration, &url]);
            of_h2load
        }
    };
    parsed(&mut command, parse)
}

fn parsed(
    command: &mut Command,
    parse: impl Fn(&str) -> Option<Saturated>,
) -> anyhow::Result<Saturated> {
    let output = network::output(command)?;
    let failures: Vec<_> = output.lines().filter(|line| is_failure(line)).collect();
    ensure!(
        failures.is_empty(),
        "{command:?} saw failures: {}",
        failures.join("; ")
    );
    let saturated = parse(&output).filter(|saturated| saturated.requests > 0);
    saturated.with_context(|| format!("{command:?} counted no requests: {output}"))
}

/// Lines that wrk prints only if something failed, and h2load's counts if any isn't zero.
fn is_failure(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Socket errors:")
        || line.starts_with("Non-2xx or 3xx responses:")
        || (line.starts_with("requests:") && !line.ends_with(" 0 failed, 0 errored, 0 timeout"))
        || (line.starts_with("status codes:") && !line.ends_with(" 0 3xx, 0 4xx, 0 5xx"))
}

fn of_wrk(output: &str) -> Option<Saturated> {
    let mut words = output
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let requests = words.find_map(|words| match words[..] {
        [count, "requests", "in", ..] => count.parse().ok(),
        _ => None,
    })?;
    let requests_per_second = words.find_map(|words| match words[..] {
        ["Requests/sec:", rate] => rate.parse().ok(),
        _ => None,
    })?;
    Some(Saturated {
        requests,
        requests_per_second,
    })
}

fn of_h2load(output: &str) -> Option<Saturated> {
    let line = |start: &str| output.lines().find_map(|line| line.strip_prefix(start));
    let (_, rate) = line("finished in ")?.split_once(", ")?;
    Some(Saturated {
        requests: line("status codes: ")?.split_once(' ')?.0.parse().ok()?,
        requests_per_second: rate.split_once(" req/s")?.0.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://10.77.0.3:8080/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.25ms    0.50ms  10.00ms   90.00%
    Req/Sec    40.10k     1.20k   42.00k    80.00%
  80220 requests in 2.01s, 95.10MB read
Requests/sec:  39910.44
Transfer/sec:     47.30MB
";
    const H2LOAD: &str = "finished in 2.00s, 61728.50 req/s, 62.10MB/s
requests: 123457 total, 123957 started, 123457 done, 123457 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 123457 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 124.20MB (130234567) total
";

    #[test]
    fn failures_are_seen() {
        for line in [
            "  Socket errors: connect 0, read 3, write 0, timeout 0",
            "  Non-2xx or 3xx responses: 7",
            "requests: 9 total, 9 started, 9 done, 8 succeeded, 1 failed, 0 errored, 0 timeout",
            "status codes: 8 2xx, 0 3xx, 0 4xx, 1 5xx",
        ] {
            assert!(is_failure(line), "{line}");
        }
        assert!(!WRK.lines().chain(H2LOAD.lines()).any(is_failure));
    }

    #[test]
    fn nothing_is_read_from_something_else() {
        assert_eq!(of_wrk(H2LOAD), None);
        assert_eq!(of_h2load(WRK), None);
    }

    #[test]
    fn requests_are_read_from_what_the_clients_print() {
        let wrk = of_wrk(WRK).expect("it is wrk's");
        assert_eq!((wrk.requests, wrk.requests_per_second), (80220, 39910.44));
        let h2load = of_h2load(H2LOAD).expect("it is h2load's");
        assert_eq!(
            (h2load.requests, h2load.requests_per_second),
            (123_457, 61728.5)
        );
    }
}
