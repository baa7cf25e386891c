//! Each backend: how it is started, and what it says that it has.

use std::{fs, net::TcpStream, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    LISTEN,
    process::{Server, directory, file, free_port, free_udp_port, installed, python},
    query,
};

/// Prometheus, which takes remote writes and scrapes one target.
pub(crate) struct Prometheus {
    pub(crate) port: u16,
    _server: Server,
}

impl Prometheus {
    /// `target` may be several, with `", "` between them.
    pub(crate) fn start(target: &str) -> Self {
        Self::configured(
            directory(),
            &format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: scraped\n  \
                 static_configs: [{{targets: [\"{target}\"]}}]\n"
            ),
        )
    }

    /// With this configuration, which may name files of the directory.
    pub(crate) fn configured(directory: TempDir, config: &str) -> Self {
        let port = free_port();
        fs::write(directory.path().join("prometheus.yml"), config).expect("it can be written");
        let mut command = Command::new("prometheus");
        command.args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.enable-remote-write-receiver",
            "--enable-feature=native-histograms,exemplar-storage",
        ]);
        command.arg(format!("--web.listen-address={LISTEN}:{port}"));
        let server = Server::start("prometheus", directory, &mut command).listening(port);
        Self {
            port,
            _server: server,
        }
    }
}

/// `VictoriaMetrics`, which takes remote writes, Graphite's and `InfluxDB`'s lines.
pub(crate) struct Victoria {
    pub(crate) port: u16,
    pub(crate) graphite: u16,
    _server: Server,
}

impl Victoria {
    pub(crate) fn start() -> Self {
        let (port, graphite) = (free_port(), free_port());
        let mut command = Command::new("victoria-metrics");
        command.args([
            format!("-httpListenAddr={LISTEN}:{port}"),
            format!("-graphiteListenAddr={LISTEN}:{graphite}"),
            "-storageDataPath=data".to_owned(),
            // What was written is found at once.
            "-search.latencyOffset=0s".to_owned(),
            "-memory.allowedBytes=64MiB".to_owned(),
        ]);
        let server = Server::start("victoria-metrics", directory(), &mut command);
        Self {
            port,
            graphite,
            _server: server.listening(port).listening(graphite),
        }
    }
}

/// `InfluxDB` 1, with a database for requests and one for datagrams.
pub(crate) struct Influxdb {
    pub(crate) port: u16,
    pub(crate) udp: u16,
    _server: Server,
}

impl Influxdb {
    pub(crate) fn start() -> Self {
        let (port, udp, rpc, directory) = (free_port(), free_udp_port(), free_port(), directory());
        let path = directory.path().display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n\
             [meta]\ndir = \"{path}/meta\"\n[data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
             [http]\nbind-address = \"{LISTEN}:{port}\"\nlog-enabled = false\n\
             [[udp]]\nenabled = true\nbind-address = \"{LISTEN}:{udp}\"\ndatabase = \"udp\"\n\
             batch-timeout = \"200ms\"\n"
        );
        fs::write(directory.path().join("influxdb.conf"), config).expect("it can be written");
        let mut command = Command::new("influxd");
        command.args(["run", "-config", "influxdb.conf"]);
        let mut server = Server::start("influxd", directory, &mut command).listening(port);
        server.until("it has a database", || {
            query::json(port, "/query", &[("q", "CREATE DATABASE http")])
        });
        Self {
            port,
            udp,
            _server: server,
        }
    }

    /// The last value of a field, of the only series with the tag.
    pub(crate) fn last(
        &self,
        database: &str,
        measurement: &str,
        field: &str,
        tag: &str,
    ) -> Option<f64> {
        let query = format!("SELECT last(\"{field}\") FROM \"{measurement}\" WHERE {tag}");
        let answer = query::json(self.port, "/query", &[("db", database), ("q", &query)])?;
        answer.pointer("/results/0/series/0/values/0/1")?.as_f64()
    }
}

/// Graphite's carbon, which writes to whisper's files.
pub(crate) struct Carbon {
    pub(crate) port: u16,
    server: Server,
}

impl Carbon {
    pub(crate) fn start() -> Self {
        let (port, pickle, query, directory) = (free_port(), free_port(), free_port(), directory());
        let path = directory.path().display();
        let config = format!(
            "[cache]\nLOCAL_DATA_DIR = {path}/whisper\nSTORAGE_DIR = {path}\nCONF_DIR = {path}\n\
             LOG_DIR = {path}\nPID_DIR = {path}\nENABLE_LOGROTATION = False\nUSER =\n\
             MAX_CACHE_SIZE = inf\nMAX_UPDATES_PER_SECOND = 5000\nMAX_CREATES_PER_MINUTE = inf\n\
             LINE_RECEIVER_INTERFACE = {LISTEN}\nLINE_RECEIVER_PORT = {port}\n\
             PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {pickle}\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query}\n\
             ENABLE_TAGS = False\nCARBON_METRIC_INTERVAL = 0\n"
        );
        let schemas = "[all]\npattern = .*\nretentions = 1s:1h\n";
        fs::write(directory.path().join("carbon.conf"), config).expect("it can be written");
        fs::write(directory.path().join("storage-schemas.conf"), schemas)
            .expect("it can be written");
        let mut command = Command::new("carbon-cache");
        command.args([
            "--config=carbon.conf",
            "--nodaemon",
            "--logfile=-",
            "--pidfile=pid",
            "start",
        ]);
        let server = Server::start("carbon-cache", directory, &mut command).listening(port);
        Self { port, server }
    }

    /// The last value of a series by its name and tags.
    pub(crate) fn last(&self, series: &str) -> Option<f64> {
        let output = Command::new("/usr/bin/python3")
            .arg(file("python/graphite.py"))
            .arg(self.server.directory().join("whisper"))
            .arg(series)
            .output()
            .expect("Debian's Python is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }
}

/// Etsy's `StatsD`.
pub(crate) struct Statsd {
    pub(crate) port: u16,
    server: Server,
}

impl Statsd {
    pub(crate) fn start() -> Self {
        let (port, management, directory) = (free_udp_port(), free_port(), directory());
        let backend = file("node/file.js");
        let report = directory.path().join("flushed");
        let config = format!(
            "{{address: \"{LISTEN}\", port: {port}, mgmt_port: {management}, flushInterval: 500, backends: [{backend:?}], \
             file: {report:?}}}"
        );
        fs::write(directory.path().join("config.js"), config).expect("it can be written");
        let mut command = Command::new("node");
        command
            .arg(installed("node/node_modules/statsd/stats.js"))
            .arg("config.js");
        let server = Server::start("statsd", directory, &mut command).listening(management);
        Self { port, server }
    }

    fn flushed(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.server.directory().join("flushed")).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_default());
        lines.collect()
    }

    /// What all flushes of a counter add up to.
    pub(crate) fn counted(&self, name: &str) -> f64 {
        let flushed = self.flushed();
        flushed
            .iter()
            .filter_map(|flush| flush["counters"][name].as_f64())
            .sum()
    }

    /// How many values all timers had whose names begin so.
    pub(crate) fn timed(&self, prefix: &str) -> f64 {
        let flushed = self.flushed();
        let timers = flushed
            .iter()
            .filter_map(|flush| flush["timers"].as_object());
        let timers = timers
            .flatten()
            .filter(|(name, _)| name.starts_with(prefix));
        timers
            .filter_map(|(_, timer)| timer["count"].as_f64())
            .sum()
    }
}

/// A receiver of OTLP in Python.
pub(crate) struct Otlp {
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    server: Server,
}

impl Otlp {
    pub(crate) fn start() -> Self {
        Self::at(free_port(), free_port())
    }

    /// One that listens at these ports.
    pub(crate) fn at(grpc: u16, http: u16) -> Self {
        let listens = Self::with(LISTEN, (grpc, http), &[]);
        Self {
            server: listens.server.listening(grpc).listening(http),
            ..listens
        }
    }

    /// One that can be reached by IPv6 alone.
    pub(crate) fn over_ipv6() -> Self {
        let mut listens = Self::with("::1", (free_port(), free_port()), &[]);
        for port in [listens.grpc, listens.http] {
            let connect = || TcpStream::connect(("::1", port)).ok();
            listens.server.until("it listens", connect);
        }
        listens
    }

    /// One that refuses messages of gRPC that are compressed.
    pub(crate) fn uncompressed() -> Self {
        let (grpc, http) = (free_port(), free_port());
        let listens = Self::with(LISTEN, (grpc, http), &["--uncompressed".to_owned()]);
        Self {
            server: listens.server.listening(grpc).listening(http),
            ..listens
        }
    }

    /// One that speaks TLS, with a certificate and its key in PEM; with a CA, who connects
    /// has to have a certificate of it.
    pub(crate) fn secured(certificate: &str, key: &str, client_ca: Option<&str>) -> Self {
        let pems = directory();
        let files = [
            ("certificate", Some(certificate)),
            ("key", Some(key)),
            ("client-ca", client_ca),
        ];
        let mut options = Vec::new();
        for (name, pem) in files {
            let Some(pem) = pem else { continue };
            let file = pems.path().join(name);
            fs::write(&file, pem).expect("it can be written");
            options.push(format!("--{name}={}", file.display()));
        }
        let (grpc, http) = (free_port(), free_port());
        let listens = Self::with(LISTEN, (grpc, http), &options);
        Self {
            // They are read before it listens.
            server: listens.server.listening(grpc).listening(http),
            ..listens
        }
    }

    fn with(address: &str, (grpc, http): (u16, u16), options: &[String]) -> Self {
        let mut command = python("otlp.py");
        command.args([grpc.to_string(), http.to_string(), "received".to_owned()]);
        command.arg(format!("--address={address}")).args(options);
        let server = Server::start("otlp.py", directory(), &mut command);
        Self { grpc, http, server }
    }

    /// All that came by `grpc` or `http`.
    pub(crate) fn received(&self, by: &str) -> Value {
        let text = fs::read_to_string(self.server.directory().join("received"));
        let all: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        all[by].clone()
    }
}

impl Otlp {
    /// How many requests came in, by what came by `grpc` or `http`.
    pub(crate) fn inbound(&self, by: &str) -> Option<f64> {
        let received = self.received(by);
        let points = &received["metrics"]["netting.proof.requests"]["points"];
        points["netting.direction=inbound"].as_f64()
    }
}

/// A receiver of `DogStatsD` in Python.
pub(crate) struct Dogstatsd {
    server: Server,
}

impl Dogstatsd {
    pub(crate) fn start() -> Self {
        let mut command = python("dogstatsd.py");
        command.args(["dsd.socket", "received"]);
        let mut server = Server::start("dogstatsd.py", directory(), &mut command);
        let report = server.directory().join("received");
        server.until("it reads", || report.exists().then_some(()));
        Self { server }
    }

    pub(crate) fn socket(&self) -> String {
        self.server
            .directory()
            .join("dsd.socket")
            .display()
            .to_string()
    }

    pub(crate) fn received(&self) -> Value {
        let text = fs::read_to_string(self.server.directory().join("received"));
        serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
    }
}
