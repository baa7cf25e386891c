//! A Collector that all of the mesh tells its metrics, as its exporter `prometheus` shows
//! them: each series with the `job` and `instance` of whose it is.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::{asked::documentation, backends::Prometheus, process::directory, query};

/// Listens here, and asks these for what it has.
pub(crate) fn serve(at: SocketAddr, told_by: &'static [&'static str]) {
    let listener = TcpListener::bind(at).expect("a free port");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let exposition: String = told_by.iter().map(|target| of(target)).collect();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\r\n";
            let _ = write!(stream, "{head}{exposition}");
        }
    });
}

fn of(target: &str) -> String {
    let (_, text) = query::get(target, "/metrics").unwrap_or_default();
    let identity = format!("job=\"mesh\",instance=\"{target}\"");
    let lines = text.lines().map(|line| match line.split_once(['{', ' ']) {
        _ if line.starts_with('#') => format!("{line}\n"),
        Some((name, rest)) if line.contains('{') => format!("{name}{{{identity},{rest}\n"),
        Some((name, value)) => format!("{name}{{{identity}}} {value}\n"),
        None => String::new(),
    });
    lines.collect()
}

/// A Prometheus that scrapes it as the documentation has it.
pub(crate) fn scraped(at: SocketAddr) -> Prometheus {
    const JOB: &str = "scrape_configs:\n- job_name: collector\n";
    let documentation = documentation("telemetry.md");
    let job = documentation.split_once(JOB).expect("it tells how").1;
    let (job, _) = job.split_once("```").expect("the snippet ends");
    let job = job.replace("collector.monitoring:8889", &at.to_string());
    let config = format!("global: {{scrape_interval: 1s}}\n{JOB}{job}");
    Prometheus::configured(directory(), &config)
}
