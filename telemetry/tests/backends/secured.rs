//! Backends by TLS, whose certificate is judged by a CA that a Secret has; and InfluxDB 2,
//! which wants a token that a Secret has.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use netting_runtime::Drain;
use netting_telemetry::{
    Metrics,
    config::{Reference, Telemetry, Values},
    export::Exporters,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::runtime::Runtime;

use crate::{
    backends::{Otlp, Victoria},
    load::{self, exporter_counted},
    process::until_eq,
    query::promql,
};

/// A pod whose Secret `backend` has the keys that are referred to here.
#[derive(Default)]
struct Pod {
    ca: String,
    token: &'static str,
    client: Option<(String, String)>,
}

impl Values for Pod {
    fn reference(&self, reference: &Reference) -> Option<String> {
        match reference.variable().as_str() {
            "NETTING_SECRET_backend_ca.crt" => Some(self.ca.clone()),
            "NETTING_SECRET_backend_token" => Some(self.token.to_owned()),
            "NETTING_SECRET_backend_tls.crt" => Some(self.client.clone()?.0),
            "NETTING_SECRET_backend_tls.key" => Some(self.client.clone()?.1),
            _ => None,
        }
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// A CA, and what it has signed for a name: certificate and key.
struct Pki {
    ca: String,
    certificate: String,
    key: String,
}

impl Pki {
    fn of(name: &str) -> Self {
        let key = || KeyPair::generate().expect("there is randomness");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("it is a good CA");
        let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        // Another one than the CA's, or it looks as though it had signed itself.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = key();
        let certificate = params.signed_by(&key, &ca).expect("it can be signed");
        Self {
            ca: ca.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Starts the exporters of a list in a pod.
fn start(list: &str, pod: &Pod, metrics: &Metrics, runtime: &Runtime) -> Exporters {
    let telemetry = Telemetry::parse(list, pod);
    assert_eq!(telemetry.wrong, []);
    runtime
        .block_on(async { Exporters::start(&telemetry, metrics, "/nowhere".into(), &Drain::new()) })
}

fn list(otlp: &Otlp, host: &str, ca: &str) -> String {
    let Otlp { grpc, http, .. } = otlp;
    format!(
        "otlp=https://{host}:{grpc};interval=200ms;signals=metrics{ca}, \
         otlp-http=https://{host}:{http};interval=200ms;signals=metrics{ca}"
    )
}

#[test]
fn otlp_goes_by_tls_to_who_has_a_certificate_of_the_named_ca() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let pki = Pki::of("127.0.0.1");
    let otlp = Otlp::secured(&pki.certificate, &pki.key, None);
    let pod = Pod {
        ca: pki.ca,
        ..Pod::default()
    };
    let list = list(&otlp, "127.0.0.1", ";ca=$(secret:backend/ca.crt)");
    let exporters = start(&list, &pod, &metrics, &runtime);
    load::make(&metrics);
    for by in ["grpc", "http"] {
        until_eq(by, Some(f64::from(load::INBOUND)), || otlp.inbound(by));
    }
    for exporter in &exporters.report().running {
        let failed = exporter_counted(&metrics, "netting.telemetry.failed", &exporter.name);
        assert_eq!(failed, [], "{}", exporter.name);
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
}

#[test]
fn nothing_is_told_to_who_has_no_such_certificate() {
    let runtime = Runtime::new().expect("a runtime");
    let (of_other_name, of_other_ca) = (Pki::of("collector.example"), Pki::of("127.0.0.1"));
    let ca = ";ca=$(secret:backend/ca.crt)";
    for (certificate, ca, by) in [
        (&of_other_name, &of_other_name.ca, ca),
        (&of_other_ca, &of_other_name.ca, ca),
        // No public one has signed it.
        (&of_other_ca, &of_other_ca.ca, ""),
    ] {
        let metrics = load::metrics();
        let otlp = Otlp::secured(&certificate.certificate, &certificate.key, None);
        let pod = Pod {
            ca: ca.clone(),
            ..Pod::default()
        };
        let list = list(&otlp, "127.0.0.1", by);
        let exporters = start(&list, &pod, &metrics, &runtime);
        for exporter in &exporters.report().running {
            let reasons = || -> Vec<String> {
                let failed = exporter_counted(&metrics, "netting.telemetry.failed", &exporter.name);
                failed.into_iter().map(|(reason, _)| reason).collect()
            };
            until_eq(&exporter.name, vec!["tls".to_owned()], reasons);
        }
        for by in ["grpc", "http"] {
            assert_eq!(otlp.received(by)["requests"], 0, "{by}");
        }
        runtime.block_on(exporters.flush(Duration::ZERO));
    }
}

#[test]
fn who_asks_for_a_certificate_is_shown_that_of_the_secret() {
    let runtime = Runtime::new().expect("a runtime");
    let (server, clients, others) = (Pki::of("127.0.0.1"), Pki::of("web-1"), Pki::of("web-1"));
    let otlp = Otlp::secured(&server.certificate, &server.key, Some(&clients.ca));
    let shown =
        ";client-certificate=$(secret:backend/tls.crt);client-key=$(secret:backend/tls.key)";
    let ca = ";ca=$(secret:backend/ca.crt)";
    for (client, options) in [
        (None, ca.to_owned()),
        (Some(others), format!("{ca}{shown}")),
    ] {
        let metrics = load::metrics();
        let pod = Pod {
            ca: server.ca.clone(),
            client: client.map(|pki| (pki.certificate, pki.key)),
            ..Pod::default()
        };
        let exporters = start(
            &list(&otlp, "127.0.0.1", &options),
            &pod,
            &metrics,
            &runtime,
        );
        for exporter in &exporters.report().running {
            until_eq(&exporter.name, true, || {
                let failed = exporter_counted(&metrics, "netting.telemetry.failed", &exporter.name);
                !failed.is_empty()
            });
        }
        runtime.block_on(exporters.flush(Duration::ZERO));
        for by in ["grpc", "http"] {
            assert_eq!(otlp.received(by)["requests"], 0, "{by}");
        }
    }
    let metrics = load::metrics();
    let pod = Pod {
        ca: server.ca,
        client: Some((clients.certificate, clients.key)),
        ..Pod::default()
    };
    let list = list(&otlp, "127.0.0.1", &format!("{ca}{shown}"));
    let exporters = start(&list, &pod, &metrics, &runtime);
    load::make(&metrics);
    for by in ["grpc", "http"] {
        until_eq(by, Some(f64::from(load::INBOUND)), || otlp.inbound(by));
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
}

/// What stands at InfluxDB 2's door: who has no token, or names no organization and no
/// bucket, is refused as it documents that; the others' lines go on to `victoria`, which
/// takes them at the same path and asks for none of it.
/// <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>
fn door(victoria: u16) -> (u16, mpsc::Receiver<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (told, statuses) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while let Some(status) = answer(&mut reader, victoria) {
                    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n");
                    // Told before whoever asks can go on.
                    if told.send(status).is_err() || (&stream).write_all(head.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, statuses)
}

/// Reads one request, and says how it is answered.
fn answer(reader: &mut BufReader<&TcpStream>, victoria: u16) -> Option<u16> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    };
    let mut body = vec![0; field("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    if field("authorization") != Some("Token s3cret==") {
        return Some(401);
    }
    let target = head.split(' ').nth(1)?;
    if target != "/api/v2/write?org=shop&bucket=mesh" {
        return Some(404);
    }
    if field("content-type") != Some("text/plain; charset=utf-8") {
        return Some(400);
    }
    let mut victoria = TcpStream::connect(("127.0.0.1", victoria)).ok()?;
    let length = body.len();
    let head = format!("POST {target} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    victoria.write_all(head.as_bytes()).ok()?;
    victoria.write_all(&body).ok()?;
    let mut status = String::new();
    BufReader::new(victoria).read_line(&mut status).ok()?;
    status.split(' ').nth(1)?.parse().ok()
}

#[test]
fn influxdb_2_has_its_organization_its_bucket_and_its_token() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let victoria = Victoria::start();
    let (door, statuses) = door(victoria.port);
    let list = format!(
        "influxdb=http://127.0.0.1:{door}/api/v2/write?org=shop&bucket=mesh;interval=200ms;\
         token=$(secret:backend/token)"
    );
    let pod = Pod {
        token: "s3cret==\n",
        ..Pod::default()
    };
    let exporters = start(&list, &pod, &metrics, &runtime);
    load::make(&metrics);
    let query = r#"{__name__="netting.proof.requests_counter",netting\.direction="inbound"}"#;
    until_eq(query, Some(f64::from(load::INBOUND)), || {
        promql(victoria.port, query)
    });
    runtime.block_on(exporters.flush(Duration::ZERO));
    assert!(statuses.try_iter().all(|status| status == 204));

    let stranger = Pod {
        token: "guess",
        ..Pod::default()
    };
    let metrics = load::metrics();
    let exporters = start(&list, &stranger, &metrics, &runtime);
    until_eq("a refusal", true, || {
        let dropped = exporter_counted(&metrics, "netting.telemetry.dropped", "influxdb");
        dropped.iter().any(|(reason, _)| reason == "refused")
    });
    runtime.block_on(exporters.flush(Duration::ZERO));
    assert!(statuses.try_iter().all(|status| status == 401));
}
