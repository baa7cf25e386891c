//! One question to a container, for probes and hooks alike.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{grpc, http};
use crate::node::containers::Exec;

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) addr: IpAddr,
    /// Its ports have names.
    pub(crate) container: &'a Container,
    pub(crate) exec: Exec,
}

/// A question that can be asked.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    Http(http::Request),
    /// Host and port.
    Tcp(String, u16),
    Exec(Box<Exec>, Vec<String>),
    /// Address and service name.
    Grpc(SocketAddr, String),
    /// A hook's pause.
    Sleep(Duration),
}

impl Check {
    /// # Errors
    /// When a port isn't one, or the probe asks nothing.
    pub(crate) fn of_probe(probe: &Probe, subject: &Subject<'_>) -> Result<Self, String> {
        if let Some(grpc) = &probe.grpc {
            let addr = SocketAddr::new(subject.addr, port_number(grpc.port)?);
            return Ok(Self::Grpc(addr, grpc.service.clone().unwrap_or_default()));
        }
        let handler = LifecycleHandler {
            exec: probe.exec.clone(),
            http_get: probe.http_get.clone(),
            tcp_socket: probe.tcp_socket.clone(),
            sleep: None,
        };
        Self::of_hook(&handler, subject)
    }

    /// # Errors
    /// When a port isn't one, or the hook does nothing.
    pub(crate) fn of_hook(hook: &LifecycleHandler, subject: &Subject<'_>) -> Result<Self, String> {
        let Subject {
            addr,
            container,
            exec,
        } = subject;
        let host = |host: &Option<String>| {
            let host = host.clone().filter(|host| !host.is_empty());
            host.unwrap_or_else(|| addr.to_string())
        };
        if let Some(action) = &hook.exec {
            let command = action.command.clone().unwrap_or_default();
            return Ok(Self::Exec(Box::new(exec.clone()), command));
        }
        if let Some(get) = &hook.http_get {
            return Ok(Self::Http(http_request(
                get,
                host(&get.host),
                port(&get.port, container)?,
            )));
        }
        if let Some(tcp) = &hook.tcp_socket {
            return Ok(Self::Tcp(host(&tcp.host), port(&tcp.port, container)?));
        }
        if let Some(sleep) = &hook.sleep {
            let pause = Duration::from_secs(sleep.seconds.try_into().unwrap_or(0));
            return Ok(Self::Sleep(pause));
        }
        Err("it has none of exec, httpGet, tcpSocket and grpc".to_owned())
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why the answer was no, in the kubelet's words where it has some.
    pub(crate) async fn run(&self, timeout: Duration) -> Result<(), String> {
        let asked = async {
            match self {
                Self::Http(request) => http::get(request).await,
                Self::Tcp(host, port) => {
                    let connected = tokio::net::TcpStream::connect((host.as_str(), *port)).await;
                    let failed = |error| format!("dial tcp {host}:{port}: {error}");
                    connected.map(drop).map_err(failed)
                }
                Self::Grpc(addr, service) => grpc::check(*addr, service).await,
                Self::Sleep(pause) => {
                    tokio::time::sleep(*pause).await;
                    Ok(())
                }
                Self::Exec(exec, command) => exec.run(command, timeout).await,
            }
        };
        // A command has to be killed at its timeout rather than abandoned, and sees to that.
        let limit = match self {
            Self::Exec(..) => timeout + Duration::from_secs(5),
            _ => timeout,
        };
        let answer = tokio::time::timeout(limit, asked).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
    }
}

fn http_request(get: &HTTPGetAction, host: String, port: u16) -> http::Request {
    let headers = get.http_headers.iter().flatten();
    let path = get
        .path
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches('/');
    http::Request {
        tls: get.scheme.as_deref() == Some("HTTPS"),
        host,
        port,
        path: format!("/{path}"),
        headers: headers
            .map(|one| (one.name.clone(), one.value.clone()))
            .collect(),
    }
}

/// A number, or the name of one of the container's ports.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => port_number(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_ref() == Some(name));
            let number = named.map(|port| port.container_port).or(name.parse().ok());
            let none = || format!("container {:?} has no port {name:?}", container.name);
            port_number(number.ok_or_else(none)?)
        }
    }
}

fn port_number(number: i32) -> Result<u16, String> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or(format!("{number} is no port"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::node::launcher::{Credentials, Process};

    fn check(probe: Value) -> Result<String, String> {
        let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]});
        let container: Container = serde_json::from_value(container).expect("a container");
        let credentials = Credentials {
            uid: 0,
            gid: 0,
            groups: vec![],
            capabilities: None,
            no_new_privileges: false,
        };
        let process = Process {
            argv: vec![],
            env: vec![],
            cwd: "/".into(),
            credentials,
        };
        let exec = Exec {
            launcher: "/x".into(),
            dir: "/x".into(),
            pid: 1,
            process,
        };
        let addr = "fd00::2".parse().expect("an address");
        let subject = Subject {
            addr,
            container: &container,
            exec,
        };
        let probe = serde_json::from_value(probe).expect("a probe");
        Check::of_probe(&probe, &subject).map(|check| match check {
            Check::Http(request) => format!("{request:?}"),
            Check::Tcp(host, port) => format!("tcp {host} {port}"),
            Check::Exec(_, command) => format!("exec {command:?}"),
            Check::Grpc(addr, service) => format!("grpc {addr} {service}"),
            Check::Sleep(pause) => format!("sleep {pause:?}"),
        })
    }

    #[test]
    fn refuses_probes_that_cannot_be_asked() {
        for (probe, said) in [
            (json!({}), "none of"),
            (json!({"tcpSocket": {"port": 0}}), "no port"),
            (json!({"tcpSocket": {"port": 70000}}), "no port"),
            (json!({"httpGet": {"port": "none"}}), "no port \"none\""),
            (json!({"grpc": {"port": -1}}), "no port"),
        ] {
            let error = check(probe.clone()).expect_err("nothing to ask");
            assert!(error.contains(said), "{probe}: {error}");
        }
    }

    #[test]
    fn asks_the_pod_unless_another_host_is_named() {
        let https =
            "Request { tls: true, host: \"fd00::2\", port: 8080, path: \"/\", headers: [] }";
        for (probe, expected) in [
            (json!({"tcpSocket": {"port": "web"}}), "tcp fd00::2 8080"),
            (
                json!({"tcpSocket": {"port": 1, "host": "10.0.0.1"}}),
                "tcp 10.0.0.1 1",
            ),
            (json!({"exec": {"command": ["true"]}}), "exec [\"true\"]"),
            (
                json!({"grpc": {"port": 5, "service": "s"}}),
                "grpc [fd00::2]:5 s",
            ),
            (
                json!({"httpGet": {"port": "web", "scheme": "HTTPS"}}),
                https,
            ),
        ] {
            assert_eq!(check(probe).as_deref(), Ok(expected));
        }
    }
}
