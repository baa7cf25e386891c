//! A catalog that knows what a test tells it, on the peer's side.

use std::{collections::HashMap, net::SocketAddr, pin::Pin};

use netting_proto::v1::{
    self,
    catalog_server::{Catalog, CatalogServer},
    stream_request, stream_response,
};
use tokio::sync::mpsc;
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// Where one endpoint serves each address, which protocol some are named after, and for all
/// of them whether a sidecar is there and how they are treated.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) endpoints: HashMap<SocketAddr, SocketAddr>,
    pub(crate) hints: HashMap<SocketAddr, String>,
    pub(crate) meshed: bool,
    pub(crate) policy: v1::ServicePolicy,
}

/// Serves until the test's process ends.
pub(crate) fn serve(listener: std::net::TcpListener, known: Known) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async move {
        listener
            .set_nonblocking(true)
            .expect("a socket can be set so");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
        tonic::transport::Server::builder()
            .add_service(CatalogServer::new(known))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .expect("it serves");
    });
}

impl Known {
    fn answer(&self, address: v1::Address) -> stream_response::Kind {
        let asked = SocketAddr::try_from(&address).expect("the sidecar asks for addresses");
        let Some(endpoint) = self.endpoints.get(&asked) else {
            return stream_response::Kind::Unknown(v1::Unknown {
                address: Some(address),
                changed_at_us: 0,
            });
        };
        let endpoint = v1::Endpoint {
            address: Some((*endpoint).into()),
            ready: true,
            serving: true,
            weight: 1,
            workload: self.meshed.then(|| v1::Workload {
                meshed: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        stream_response::Kind::Snapshot(v1::Snapshot {
            address: Some(address),
            destination: Some(v1::Destination {
                name: "orders".to_owned(),
                namespace: "shop".to_owned(),
                protocol_hint: self.hints.get(&asked).cloned().unwrap_or_default(),
                policy: Some(self.policy.clone()),
                ..Default::default()
            }),
            endpoints: vec![endpoint],
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl Catalog for Known {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let known = self.clone();
        let mut requests = request.into_inner();
        let (responses, queue) = mpsc::channel(64);
        tokio::spawn(async move {
            let welcome = v1::Welcome {
                heartbeat_interval_ms: 60_000,
                ..Default::default()
            };
            let mut answers = vec![stream_response::Kind::Welcome(welcome)];
            loop {
                for kind in answers.drain(..) {
                    let response = v1::StreamResponse { kind: Some(kind) };
                    if responses.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                let Ok(Some(request)) = requests.message().await else {
                    return;
                };
                if let Some(stream_request::Kind::Subscribe(subscribe)) = request.kind {
                    let asked = subscribe.subscriptions.into_iter();
                    let asked = asked.filter_map(|subscription| subscription.address);
                    answers.extend(asked.map(|address| known.answer(address)));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}
