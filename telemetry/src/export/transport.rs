//! What brings a batch to a backend.

use bytes::Bytes;

use super::{
    datagrams::Datagrams, grpc::GrpcClient, http::HttpClient, lines::Lines, queue::Batch,
    reason::Failure,
};

/// One backend, by one protocol.
pub(crate) enum Transport {
    /// Each batch is the body of a POST.
    Http {
        client: Box<HttpClient>,
        /// Reads from the answer how many items were not taken.
        rejected: fn(Bytes) -> u64,
    },
    /// Each batch is a message.
    Grpc {
        client: Box<GrpcClient>,
        /// Reads from the answer how many items were not taken.
        rejected: fn(Bytes) -> u64,
    },
    /// Each batch is a datagram.
    Datagrams(Datagrams),
    /// Each batch is some lines.
    Lines(Lines),
}

impl Transport {
    /// Returns how many items the backend has rejected, though it took the rest.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Result<u64, Failure> {
        match self {
            Self::Http { client, rejected } => client.post(batch.body.clone()).await.map(rejected),
            Self::Grpc { client, rejected } => client.call(batch.body.clone()).await.map(rejected),
            Self::Datagrams(datagrams) => datagrams.send(&batch.body).await.map(|()| 0),
            Self::Lines(lines) => lines.write(&batch.body).await.map(|()| 0),
        }
    }

    /// Says goodbye, where that makes sure of something.
    pub(crate) async fn close(&mut self) {
        if let Self::Lines(lines) = self {
            lines.close().await;
        }
    }
}
