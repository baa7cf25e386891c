//! Requests at a fixed rate, whatever becomes of them.
//!
//! Each request has its due time, and its latency counts from then, so that a pause shows in all
//! the requests that would have met it. Each connection is a thread that waits in `ppoll`, whose
//! timeout is as fine as the kernel's timers; h2load and tokio wait in whole milliseconds, which
//! is longer than what is to be measured.

mod http1;
mod http2;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl, time::TimeSpec},
};

use crate::{
    network::Pod,
    scenario::{Protocol, Scenario},
};

/// From the connections' set-up to the first request.
const HEAD_START: Duration = Duration::from_millis(200);
/// How long after the last request its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection's thread needs little.
const STACK_BYTES: usize = 128 * 1024;

/// What the requests took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latencies {
    /// How many were answered.
    pub(crate) requests: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What a protocol does with a connection's bytes.
trait Dialect: Send {
    /// What a client says first.
    fn greeting(&self) -> Vec<u8>;
    /// The next request, and the number its answer will have.
    fn request(&mut self) -> (u32, Vec<u8>);
    /// Takes what was read: the numbers of the answers that are complete now, and what is to be
    /// written back.
    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<(Vec<u32>, Vec<u8>)>;
}

/// Asks `target` from within `pod`, `rate` times a second over all connections.
pub(crate) fn run(
    pod: &Pod,
    target: SocketAddr,
    scenario: Scenario,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Latencies> {
    let connect = || {
        let connected = (0..scenario.connections).map(|_| TcpStream::connect(target));
        let connected: Result<Vec<_>, _> = connected.collect();
        connected.with_context(|| format!("could not connect to {target}"))
    };
    drive(pod.enter(connect)?, target, scenario, rate, duration)
}

fn drive(
    streams: Vec<TcpStream>,
    target: SocketAddr,
    scenario: Scenario,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Latencies> {
    let interval = Duration::from_secs_f64(f64::from(scenario.connections) / rate);
    let begin = Instant::now() + HEAD_START;
    let connections = streams
        .into_iter()
        .zip(0..)
        .map(|(stream, number)| Connection {
            stream,
            dialect: match scenario.protocol {
                Protocol::Http1 => Box::new(http1::Http1::new(target)),
                Protocol::Http2 => Box::new(http2::Http2::new(target)),
            },
            at_once: scenario.streams as usize,
            // Spread over the interval, as clients that know nothing of each other are.
            next_due: begin + interval * number / scenario.connections,
            interval,
            end: begin + duration,
            in_flight: Vec::new(),
            latencies: Vec::new(),
            answered: 0,
        });
    let threads: Vec<_> = connections
        .map(|connection| {
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn(|| connection.run())
        })
        .collect::<Result<_, _>>()?;
    let (mut answered, mut latencies) = (0, Vec::new());
    for thread in threads {
        let joined = thread.join();
        let joined = joined.map_err(|_| anyhow::anyhow!("a connection's thread panicked"))?;
        let (more, of_these) = joined?;
        answered += more;
        latencies.extend(of_these);
    }
    percentiles(answered, latencies).context("no request was due; is the duration too short?")
}

struct Connection {
    stream: TcpStream,
    dialect: Box<dyn Dialect>,
    /// How many requests may be unanswered. One that is due beyond waits, which its latency counts.
    at_once: usize,
    next_due: Instant,
    interval: Duration,
    end: Instant,
    /// Numbers of the requests without an answer, and when they were due.
    in_flight: Vec<(u32, Instant)>,
    latencies: Vec<Duration>,
    /// How many of the latencies are of answers.
    answered: u64,
}

impl Connection {
    fn run(mut self) -> anyhow::Result<(u64, Vec<Duration>)> {
        // Otherwise a timer may be 50 µs late.
        prctl::set_timerslack(1)?;
        self.stream.set_nodelay(true)?;
        self.stream.write_all(&self.dialect.greeting())?;
        let mut buffer = [0; 16 * 1024];
        loop {
            let now = Instant::now();
            self.send_what_is_due(now)?;
            let over = now >= self.end || self.next_due >= self.end;
            if over && self.in_flight.is_empty() {
                self.count_what_was_not_sent(now);
                return Ok((self.answered, self.latencies));
            }
            ensure!(
                now < self.end + PATIENCE,
                "{} requests were not answered within {PATIENCE:?}",
                self.in_flight.len()
            );
            let may_send = !over && self.in_flight.len() < self.at_once;
            let wake = if may_send {
                self.next_due
            } else {
                now + PATIENCE
            };
            if self.wait_readable(wake.saturating_duration_since(now))? {
                match self.stream.read(&mut buffer)? {
                    0 => bail!("the connection was closed"),
                    count => self.take(&buffer[..count])?,
                }
            }
        }
    }

    fn send_what_is_due(&mut self, now: Instant) -> anyhow::Result<()> {
        while self.next_due <= now && now < self.end && self.in_flight.len() < self.at_once {
            let (number, request) = self.dialect.request();
            self.stream.write_all(&request)?;
            self.in_flight.push((number, self.next_due));
            self.next_due += self.interval;
        }
        Ok(())
    }

    /// What is due, but found no place until the end, would have taken longer than this.
    fn count_what_was_not_sent(&mut self, now: Instant) {
        self.answered = self.latencies.len() as u64;
        while self.next_due < self.end {
            self.latencies.push(now - self.next_due);
            self.next_due += self.interval;
        }
    }

    fn wait_readable(&self, timeout: Duration) -> anyhow::Result<bool> {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let (answered, reply) = self.dialect.read(bytes)?;
        let now = Instant::now();
        for number in answered {
            let asked = self
                .in_flight
                .iter()
                .position(|(asked, _)| *asked == number);
            let asked = asked.with_context(|| format!("answer {number} was not asked for"))?;
            let (_, due) = self.in_flight.swap_remove(asked);
            self.latencies.push(now - due);
        }
        if !reply.is_empty() {
            self.stream.write_all(&reply)?;
        }
        Ok(())
    }
}

fn percentiles(requests: u64, mut latencies: Vec<Duration>) -> Option<Latencies> {
    latencies.sort_unstable();
    let at = |percent: usize| {
        let rank = (latencies.len() * percent).div_ceil(100);
        latencies.get(rank.checked_sub(1)?).copied()
    };
    Some(Latencies {
        p50: at(50)?,
        p99: at(99)?,
        requests,
    })
}

#[cfg(test)]
mod tests;
