//! The gRPC side: a task for each stream, between its sidecar and the publisher.

mod asked;
mod conversation;

use std::{sync::Arc, time::Duration};

use netting_proto::v1::{self, catalog_server};
use netting_runtime::{Drain, Slots};
use netting_telemetry::{catalog::CatalogMetrics, trace::Tracer};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::{
    accept::{self, Client},
    publisher::Publisher,
    session::Terms,
};

use conversation::Conversation;

/// The longest message that a sidecar may send, decoded: some 15,000 subscriptions.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// A peer that doesn't answer a ping within this is gone, and so is its connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Streams on one connection: a sidecar has one, and for a moment two.
const STREAMS_IN_A_CONNECTION: u32 = 8;
/// Connections that may be open beside those that carry the streams.
const SPARE_CONNECTIONS: usize = 64;
/// One message waits in front of the transport, so that the next one is worked out
/// as late as can be.
const RESPONSE_QUEUE: usize = 1;

/// How much the streams may take, and how soon a silent one is noticed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Streams open at once.
    pub streams_max: usize,
    /// Addresses that one stream may follow.
    pub subscriptions_max: usize,
    /// How often each side says something.
    pub heartbeat_interval: Duration,
}

/// The contract's service.
#[derive(Debug)]
pub struct Streams {
    publisher: Arc<Publisher>,
    metrics: CatalogMetrics,
    tracer: Option<Tracer>,
    limits: Limits,
    slots: Slots,
    drain: Drain,
}

impl Streams {
    /// Streams of what the publisher publishes.
    #[must_use]
    pub fn new(
        publisher: Arc<Publisher>,
        metrics: CatalogMetrics,
        limits: Limits,
        drain: Drain,
    ) -> Self {
        Self {
            publisher,
            metrics,
            tracer: None,
            limits,
            slots: Slots::new("streams", limits.streams_max),
            drain,
        }
    }

    /// The same, with a span for what is asked for at a time.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Serves until the drain has started and all connections are closed. Those
    /// are told GOAWAY first, and their streams end with a status that says why.
    ///
    /// # Errors
    /// None that a single connection causes.
    pub async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        let drain = self.drain.clone();
        let connections_max = self.limits.streams_max + SPARE_CONNECTIONS;
        let connections = accept::connections(listener, connections_max, &drain);
        let service =
            catalog_server::CatalogServer::new(self).max_decoding_message_size(REQUEST_BYTES_MAX);
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(STREAMS_IN_A_CONNECTION)
            .serve_with_incoming_shutdown(service, connections, drain.started())
            .await
    }

    fn terms(&self) -> Terms {
        let interval_ms = self.limits.heartbeat_interval.as_millis();
        Terms {
            heartbeat_interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX).max(1),
            subscriptions_max: self.limits.subscriptions_max,
        }
    }
}

#[tonic::async_trait]
impl catalog_server::Catalog for Streams {
    type StreamStream = ReceiverStream<Result<v1::StreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        if self.drain.has_started() {
            return Err(conversation::draining());
        }
        // Whatever came by a connection was accepted.
        let client = request.extensions().get::<Client>().cloned();
        let client = client.ok_or_else(|| Status::internal("nobody knows who asks"))?;
        let Some(slot) = self.slots.take(client.addr.ip()).await else {
            self.metrics.stream_closed("too_many_streams");
            tracing::warn!(
                streams_max = self.limits.streams_max,
                "refused a stream; raise --streams-max or add replicas"
            );
            return Err(Status::resource_exhausted(
                "this replica serves as many streams as it may; try another one",
            ));
        };
        let span = tracing::info_span!(
            "stream",
            peer = %client.addr,
            namespace = tracing::field::Empty,
            pod = tracing::field::Empty
        );
        let (responses, stream) = mpsc::channel(RESPONSE_QUEUE);
        let conversation = Conversation::new(
            Arc::clone(&self.publisher),
            self.metrics.clone(),
            self.terms(),
            self.drain.clone(),
            responses,
        );
        let conversation = conversation.traced(self.tracer.clone());
        let working = (client.holder.at_work(), slot.holder().at_work());
        let task = async move {
            conversation.run(request.into_inner(), slot).await;
            drop(working);
        };
        span.in_scope(|| self.drain.spawn(task.in_current_span()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[cfg(test)]
mod tests;
