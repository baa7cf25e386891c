//! A process from its first log line to its exit code.

use std::{
    fmt::Display,
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use tokio::net::{TcpListener, TcpSocket};

use crate::logging::{self, LogFormat, LogHandle};

/// Connections that may wait to be accepted, if the kernel allows as many
/// (`net.core.somaxconn`). All sidecars of a cluster may come at once; those that find no
/// room are reset, or try again after a second.
const BACKLOG: u32 = 4096;

/// What a process is told before it does anything.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name, as of its binary.
    pub name: &'static str,
    /// Its log filter.
    pub log: String,
    /// How its log lines look.
    pub log_format: LogFormat,
    /// Worker threads; `None` is one for each CPU that the container may use. With
    /// one, everything runs on the calling thread.
    pub worker_threads: Option<usize>,
}

impl Process {
    /// Sets up logging and the runtime, and runs `body` to its end. The exit code is
    /// 0 if that went well, 1 if not, and 2 if the log filter is none.
    pub fn run<F, E>(self, body: impl FnOnce(LogHandle) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let log = match logging::init(&self.log, self.log_format) {
            Ok(log) => log,
            Err(error) => {
                eprintln!("{}: {error}", self.name);
                return ExitCode::from(2);
            }
        };
        let mut builder = match self.worker_threads {
            Some(1) => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        if let Some(threads) = self.worker_threads {
            builder.worker_threads(threads);
        }
        let ran = match builder.enable_all().build() {
            Ok(runtime) => runtime
                .block_on(body(log))
                // The alternate form tells the causes too, where there are any.
                .map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("could not start the runtime: {error}")),
        };
        match ran {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error, "{} could not run", self.name);
                ExitCode::FAILURE
            }
        }
    }
}

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on port {port}; is it taken?")]
pub struct ListenError {
    /// The port.
    pub port: u16,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Listens on a port of all addresses: of both families where the kernel has both,
/// else of IPv4. 0 takes a free port.
///
/// # Errors
/// If the port is taken.
pub async fn listen(port: u16) -> Result<TcpListener, ListenError> {
    let bound = match listen_at((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen_at((Ipv4Addr::UNSPECIFIED, port).into())
        }
        bound => bound,
    };
    bound.map_err(|source| ListenError { port, source })
}

fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // What is left of the connections of the process before is in nobody's way.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    #[tokio::test]
    async fn refuses_a_port_that_is_taken() {
        let listener = listen(0).await.expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address");
        let taken = listen(port.port()).await.expect_err("it is taken");
        assert_eq!(taken.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn hundreds_that_come_at_once_find_room() {
        let listener = listen(0).await.expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let mut connected = Vec::new();
        for nth in 0..500 {
            let connecting = TcpStream::connect(("127.0.0.1", addr.port()));
            // Nobody accepts: where there is no room, this would take for ever.
            let stream = timeout(Duration::from_secs(20), connecting).await;
            let stream = stream.unwrap_or_else(|_| panic!("no room for the {nth}th"));
            connected.push(stream.expect("it listens"));
        }
    }

    #[tokio::test]
    async fn listens_on_both_families() {
        let listener = listen(0).await.expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address");
        for host in ["127.0.0.1", "::1"] {
            let connected = TcpStream::connect((host, port.port())).await;
            assert!(connected.is_ok(), "{host}: {connected:?}");
        }
    }
}
