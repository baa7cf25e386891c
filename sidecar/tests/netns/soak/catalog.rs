//! A catalog whose services change.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use netting_proto::v1::{
    self,
    catalog_server::{Catalog, CatalogServer},
    stream_request,
    stream_response::Kind,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    replica::Slot,
    service::{SERVICES, Service},
};

/// All services: which of the slots have endpoints now.
#[derive(Clone)]
pub(super) struct Services {
    endpoints: watch::Sender<Vec<Listed>>,
    /// How often one of them was subscribed.
    subscribed: Arc<AtomicUsize>,
}

/// A slot that has endpoints.
#[derive(Clone, Copy)]
struct Listed {
    slot: Slot,
    terminating: bool,
}

/// What a sidecar was told last of the services that it follows.
type Held = HashMap<Service, Vec<v1::Endpoint>>;

impl Services {
    pub(super) fn new() -> Self {
        Self {
            endpoints: watch::Sender::new(Vec::new()),
            subscribed: Arc::default(),
        }
    }

    /// From now on these have endpoints.
    pub(super) fn publish(&self, slots: impl Iterator<Item = Slot>) {
        let listed = |slot| Listed {
            slot,
            terminating: false,
        };
        self.endpoints.send_replace(slots.map(listed).collect());
    }

    /// This one's pod is being deleted.
    pub(super) fn terminate(&self, slot: Slot) {
        self.endpoints.send_modify(|endpoints| {
            for listed in endpoints.iter_mut().filter(|listed| listed.slot == slot) {
                listed.terminating = true;
            }
        });
    }

    /// How often a service was subscribed: once each, unless sidecars lose streams or are
    /// sent deltas that don't fit.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed.load(Relaxed)
    }

    /// Serves until the test's process ends.
    pub(super) fn serve(self, listener: TcpListener) {
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

    fn endpoints(&self, service: Service) -> Vec<v1::Endpoint> {
        let listed = self.endpoints.borrow();
        let endpoint = |listed: &Listed| v1::Endpoint {
            address: Some(service.endpoint(listed.slot).into()),
            ready: !listed.terminating,
            serving: true,
            terminating: listed.terminating,
            weight: 1,
            workload: Some(v1::Workload {
                meshed: listed.slot.way().is_meshed(),
                ..Default::default()
            }),
            ..Default::default()
        };
        listed.iter().map(endpoint).collect()
    }

    /// The answer to a subscription.
    fn answer(&self, asked: v1::Subscription, held: &mut Held) -> Option<Kind> {
        let address = asked.address?;
        let is_its = |service: &Service| v1::Address::from(service.addr()) == address;
        let Some(service) = SERVICES.into_iter().find(is_its) else {
            return Some(Kind::Unknown(v1::Unknown {
                address: Some(address),
                ..Default::default()
            }));
        };
        self.subscribed.fetch_add(1, Relaxed);
        let endpoints = self.endpoints(service);
        held.insert(service, endpoints.clone());
        if asked.known_hash == hash(&endpoints) {
            let address = Some(address);
            return Some(Kind::Unchanged(v1::Unchanged { address }));
        }
        Some(snapshot(service, endpoints))
    }

    /// What a change is to a sidecar that follows some services.
    fn changes(&self, held: &mut Held) -> Vec<Kind> {
        let mut changes = Vec::new();
        for (service, before) in held {
            let after = self.endpoints(*service);
            if after == *before {
                continue;
            }
            changes.push(match service {
                Service::Plain => delta(*service, before, &after),
                // The catalog may send the whole just as well.
                Service::Http1 | Service::Http2 => snapshot(*service, after.clone()),
            });
            *before = after;
        }
        changes
    }
}

fn snapshot(service: Service, endpoints: Vec<v1::Endpoint>) -> Kind {
    Kind::Snapshot(v1::Snapshot {
        address: Some(service.addr().into()),
        destination: Some(v1::Destination {
            namespace: "soak".to_owned(),
            name: format!("{service:?}"),
            policy: service.policy(),
            ..Default::default()
        }),
        hash: hash(&endpoints),
        endpoints,
        changed_at_us: 0,
    })
}

fn delta(service: Service, before: &[v1::Endpoint], after: &[v1::Endpoint]) -> Kind {
    let is_gone = |old: &&v1::Endpoint| after.iter().all(|new| new.address != old.address);
    let removed = before.iter().filter(is_gone);
    let upserted = after.iter().filter(|new| !before.contains(new));
    Kind::Delta(v1::Delta {
        address: Some(service.addr().into()),
        base_hash: hash(before),
        hash: hash(after),
        upserted: upserted.cloned().collect(),
        removed: removed.filter_map(|old| old.address.clone()).collect(),
        ..Default::default()
    })
}

fn hash(endpoints: &[v1::Endpoint]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    format!("{endpoints:?}").hash(&mut hasher);
    hasher.finish().to_be_bytes().into()
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
            let mut changed = services.endpoints.subscribe();
            let mut held = Held::new();
            let welcome = v1::Welcome {
                heartbeat_interval_ms: 60_000,
                ..Default::default()
            };
            let mut answers = vec![Kind::Welcome(welcome)];
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
                    _ = changed.changed() => {
                        answers = services.changes(&mut held);
                        continue;
                    }
                };
                if let Some(stream_request::Kind::Subscribe(asked)) = told {
                    let asked = asked.subscriptions.into_iter();
                    answers.extend(asked.filter_map(|one| services.answer(one, &mut held)));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}
