//! Proves with a connection that outbound redirection works.

mod probes;
mod witness;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

pub use probes::Exempt;
pub use witness::Witness;

use crate::pod::Pod;
use crate::{Family, Options};

/// How long a redirected connection may take. It never leaves the pod, so that a millisecond is
/// long; with [`witness::ANSWER_TIMEOUT`] twice on top, a failure is known within about a second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// How often a connection that gets no answer is tried. The kernel installs the local route of a
/// new IPv6 address some time after the address (`addrconf_dad_work`), and drops what comes for
/// it until then; TCP itself would try again only after a second.
const CONNECT_ATTEMPTS: u32 = 2;

/// What was found out about one family.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// A connection that could only come back by way of the rules came back.
    Proven {
        /// The family it is about.
        family: Family,
        /// Where the connection was meant to go.
        probe: SocketAddr,
        /// Who saw it arrive.
        seen_by: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// There is no connection that the rules would redirect.
    NothingToProve {
        /// The family it is about.
        family: Family,
        /// Why.
        reason: Exempt,
    },
}

/// Why redirection isn't proven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules let this user's connections through.
    #[error(
        "this process runs as user {uid}, which is the sidecar's and never redirected; \
         run verify as another user"
    )]
    ExemptUser {
        /// The effective user id.
        uid: u32,
    },
    /// No family has an address.
    #[error(
        "the pod has no address besides loopback, so that no connection can be tried; \
         is its network set up?"
    )]
    NoNetwork,
    /// The port can't be listened on, for another reason than somebody listening already.
    #[error("could not listen on {addr} to see the connection arrive")]
    Listen {
        /// Where redirected connections arrive.
        addr: SocketAddr,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The connection got no answer or was refused: it went out, or nobody wanted it.
    #[error(
        "{} connections are not redirected to port {port}: one to {probe} did not come back; \
         check that the rules are there and that nobody else's come before them",
        family(probe)
    )]
    NotRedirected {
        /// Where the connection was meant to go.
        probe: SocketAddr,
        /// The outbound port.
        port: u16,
        /// What became of the connection.
        #[source]
        source: io::Error,
    },
    /// The connection was made, but didn't arrive at the outbound port.
    #[error(
        "{} connections are not redirected to port {port}: one to {probe} was answered by \
         somebody else; check for rules of others that come first",
        family(probe)
    )]
    AnsweredElsewhere {
        /// Where the connection was meant to go.
        probe: SocketAddr,
        /// The outbound port.
        port: u16,
        /// What was seen instead.
        #[source]
        source: io::Error,
    },
    /// No connection even got as far as the rules, in any family.
    #[error("no connection could be tried, the last one to {probe}; has the pod any routes?")]
    Unreachable {
        /// The last destination tried.
        probe: SocketAddr,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

fn family(addr: &SocketAddr) -> Family {
    match addr {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}

/// Proves by behaviour that the pod's outbound connections reach the outbound port: one is made
/// to an address that leads nowhere, and must come back with a token.
///
/// # Errors
/// See [`Error`]; known within a second.
pub fn verify(options: &Options, pod: &Pod) -> Result<[Verdict; 2], Error> {
    let uid = geteuid().as_raw();
    if uid == options.proxy_uid {
        return Err(Error::ExemptUser { uid });
    }
    if pod.addresses.is_empty() {
        return Err(Error::NoNetwork);
    }
    let verdicts = Family::both(|family| verify_family(options, pod, family));
    let any_proven = verdicts
        .iter()
        .any(|verdict| matches!(verdict, Ok(Verdict::Proven { .. })));
    let [v4, v6] = verdicts.map(|verdict| match verdict {
        Err(Error::Unreachable { probe, .. }) if any_proven => Ok(Verdict::NothingToProve {
            family: family(&probe),
            reason: Exempt::Unreachable,
        }),
        verdict => verdict,
    });
    Ok([v4?, v6?])
}

fn verify_family(options: &Options, pod: &Pod, family: Family) -> Result<Verdict, Error> {
    let started = Instant::now();
    let probes = match probes::choose(options, pod, family) {
        Ok(probes) => probes,
        Err(reason) => return Ok(Verdict::NothingToProve { family, reason }),
    };
    let port = options.outbound_port;
    let witness = Witness::at(family, port)?;
    let (probe, client) = connect(&probes, port)?;
    witness
        .saw(&client, probe)
        .map_err(|source| Error::AnsweredElsewhere {
            probe,
            port,
            source,
        })?;
    Ok(Verdict::Proven {
        family,
        probe,
        seen_by: witness.as_str(),
        took: started.elapsed(),
    })
}

/// Connects to the first of `probes` that can be tried.
///
/// A pod without a default route gets an error from the routing table, before any rule is asked;
/// only an answer from beyond it, or none, says something about the rules.
fn connect(probes: &[SocketAddr], port: u16) -> Result<(SocketAddr, TcpStream), Error> {
    let mut unreachable = None;
    for &probe in probes {
        let mut attempt = TcpStream::connect_timeout(&probe, CONNECT_TIMEOUT);
        for _ in 1..CONNECT_ATTEMPTS {
            if attempt
                .as_ref()
                .is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)
            {
                attempt = TcpStream::connect_timeout(&probe, CONNECT_TIMEOUT);
            }
        }
        match attempt {
            Ok(stream) => return Ok((probe, stream)),
            Err(source) => match source.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused => {
                    return Err(Error::NotRedirected {
                        probe,
                        port,
                        source,
                    });
                }
                _ => unreachable = Some(Error::Unreachable { probe, source }),
            },
        }
    }
    Err(unreachable.expect("there is at least one probe"))
}
