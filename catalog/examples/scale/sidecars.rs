//! Sidecars, one stream each.

use std::net::SocketAddr;

use anyhow::Context as _;
use netting_proto::v1::{
    self, catalog_client::CatalogClient, stream_request::Kind, stream_response::Kind as Message,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;

use super::cluster::{ADDRESSES_OF_A_STREAM, addresses, cluster_ip};

/// One sidecar, and what it knows.
pub(crate) struct Sidecar {
    pub(crate) responses: tonic::Streaming<v1::StreamResponse>,
    pub(crate) hashes: Vec<Vec<u8>>,
    /// How many of its addresses had another state than it knew.
    pub(crate) told_anew: usize,
    _requests: mpsc::Sender<v1::StreamRequest>,
}

/// All of them at once, each with what it knew before, if anything; until the last of them
/// has an answer for each of its addresses.
pub(crate) async fn open(
    catalog: SocketAddr,
    streams: u32,
    known: &[Vec<Vec<u8>>],
) -> anyhow::Result<Vec<Sidecar>> {
    let mut opening = JoinSet::new();
    for stream in 0..streams {
        let known = known.get(stream as usize).cloned().unwrap_or_default();
        opening.spawn(async move { (stream, one(catalog, stream, known).await) });
    }
    let mut opened = Vec::new();
    while let Some(one) = opening.join_next().await {
        let (stream, sidecar) = one?;
        opened.push((stream, sidecar?));
    }
    opened.sort_by_key(|(stream, _)| *stream);
    Ok(opened.into_iter().map(|(_, sidecar)| sidecar).collect())
}

async fn one(
    catalog: SocketAddr,
    stream: u32,
    mut hashes: Vec<Vec<u8>>,
) -> anyhow::Result<Sidecar> {
    hashes.resize(ADDRESSES_OF_A_STREAM as usize, Vec::new());
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{catalog}"))?;
    let mut client = CatalogClient::new(channel.connect().await?);
    let (requests, queue) = mpsc::channel(4);
    let mut responses = client
        .stream(ReceiverStream::new(queue))
        .await?
        .into_inner();
    let subscriptions = addresses(stream).zip(&hashes);
    let subscriptions = subscriptions.map(|(at, known_hash)| v1::Subscription {
        address: Some(SocketAddr::new(cluster_ip(at), 80).into()),
        known_hash: known_hash.clone(),
    });
    let subscriptions = subscriptions.collect();
    let subscribe = Kind::Subscribe(v1::Subscribe { subscriptions });
    for kind in [Kind::Hello(v1::Hello::default()), subscribe] {
        requests
            .send(v1::StreamRequest { kind: Some(kind) })
            .await?;
    }
    let (mut answered, mut told_anew) = (0, 0);
    while answered < hashes.len() {
        let response = responses.message().await?.context("the stream is open")?;
        match response.kind {
            Some(Message::Snapshot(snapshot)) => {
                hashes[answered] = snapshot.hash;
                (answered, told_anew) = (answered + 1, told_anew + 1);
            }
            Some(Message::Unchanged(_)) => answered += 1,
            _ => {}
        }
    }
    Ok(Sidecar {
        responses,
        hashes,
        told_anew,
        _requests: requests,
    })
}
