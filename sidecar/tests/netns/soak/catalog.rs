//! A catalog whose services change. Their endpoints have sidecars, it says.

use std::{net::TcpListener, pin::Pin};

use netting_proto::v1::{
    self,
    catalog_server::{Catalog, CatalogServer},
    stream_request, stream_response,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

use super::{load::Speaks, replica::Slot};

/// Both services: which of the slots have endpoints now.
#[derive(Clone)]
pub(crate) struct Services(watch::Sender<Vec<Slot>>);

impl Services {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    /// From now on these have endpoints.
    pub(crate) fn publish(&self, slots: &[Slot]) {
        self.0.send_replace(slots.to_vec());
    }

    /// Serves until the test's process ends.
    pub(crate) fn serve(self, listener: TcpListener) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async move {
            let set = listener.set_nonblocking(true);
            set.expect("a socket can be set so");
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            let server = tonic::transport::Server::builder().add_service(CatalogServer::new(self));
            let served = server.serve_with_incoming(TcpListenerStream::new(listener));
            served.await.expect("it serves");
        });
    }

    /// All there is to say now.
    fn snapshots(&self) -> Vec<stream_response::Kind> {
        let slots = self.0.borrow().clone();
        let snapshot = |speaks: Speaks| {
            let endpoint = |slot: &Slot| v1::Endpoint {
                address: Some(speaks.endpoint(*slot).into()),
                ready: true,
                serving: true,
                weight: 1,
                workload: Some(v1::Workload {
                    meshed: true,
                    ..Default::default()
                }),
                ..Default::default()
            };
            let policy = v1::ServicePolicy {
                retries: Some(3),
                retry_on: Some(v1::RetryOn {
                    reset: true,
                    ..Default::default()
                }),
                ..Default::default()
            };
            stream_response::Kind::Snapshot(v1::Snapshot {
                address: Some(speaks.service().into()),
                destination: Some(v1::Destination {
                    namespace: "soak".to_owned(),
                    name: "app".to_owned(),
                    policy: Some(policy),
                    ..Default::default()
                }),
                endpoints: slots.iter().map(endpoint).collect(),
                ..Default::default()
            })
        };
        [Speaks::Http1, Speaks::Http2].map(snapshot).into()
    }
}

#[tonic::async_trait]
impl Catalog for Services {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (services, mut requests) = (self.clone(), request.into_inner());
        let (responses, queue) = mpsc::channel(64);
        tokio::spawn(async move {
            let mut changes = services.0.subscribe();
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
                let told = tokio::select! {
                    request = requests.message() => match request {
                        Ok(Some(request)) => request.kind,
                        _ => return,
                    },
                    _ = changes.changed() => None,
                };
                // What was not asked for is ignored.
                if matches!(told, None | Some(stream_request::Kind::Subscribe(_))) {
                    answers = services.snapshots();
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}
