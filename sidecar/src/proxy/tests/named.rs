//! What is told of the applications' own TLS, by both proxies.

use std::sync::Arc;

use clap::Parser as _;
use netting_runtime::logging::LogFormat;
use netting_telemetry::{Metrics, access_log::Record, buffer::Buffer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::yield_now,
};

use super::chain::{Chain, Tells, listen};
use crate::{access_log::AccessLogs, args::Args, detect::tests::hello};

#[tokio::test(flavor = "local")]
async fn tls_is_passed_on_as_it_is_and_told_by_its_name() {
    let records: Arc<Buffer<Record>> = Arc::new(Buffer::new(8));
    let args = [
        "netting-sidecar",
        "--access-log=all",
        "--access-log-to=none",
    ];
    let args = Args::parse_from(args).access_log;
    let (metrics, kept) = (Metrics::new("test", "0"), Some(Arc::clone(&records)));
    let tells = Tells {
        access_log: AccessLogs::start(&args, LogFormat::Text, &metrics, kept).of_thread(),
        ..Tells::default()
    };
    let (app, addr) = listen().await;
    let chain = Chain::telling(addr, &tells).await;
    let mut client = chain.connect().await;
    let said = hello(Some("shop.example.com"), 1000);
    client.write_all(&said).await.expect("the proxy reads");
    let (mut app, _) = app.accept().await.expect("a proxy connects");
    let mut heard = vec![0; said.len()];
    app.read_exact(&mut heard).await.expect("it is passed on");
    assert_eq!(heard, said);
    drop((client, app));
    let mut told = Vec::new();
    while told.len() < 2 {
        yield_now().await;
        told.extend(records.take().items);
    }
    for record in told {
        let name = record
            .attributes
            .iter()
            .find(|attribute| attribute.key == "tls.client.server_name");
        let name = name.map(|name| name.value.to_string());
        assert_eq!(name.as_deref(), Some("shop.example.com"), "{record:?}");
    }
}
