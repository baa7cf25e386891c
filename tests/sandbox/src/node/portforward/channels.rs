//! The channels of one WebSocket.

use std::{io, path::Path};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::connect;

/// Messages each way between the WebSocket and a port, so that neither runs ahead of the other.
const MESSAGES_MAX: usize = 8;
const CHUNK_BYTES: usize = 16 * 1024;

/// Forwards until the client leaves, or none of the ports has anything to say any more.
pub(super) async fn serve<W: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocketStream<W>,
    ports: &[u16],
    netns: Option<&Path>,
) {
    let (mut sink, mut source) = socket.split();
    let (frames, mut to_client) = mpsc::channel::<Bytes>(MESSAGES_MAX);
    let (mut to_ports, forwarding) = (Vec::new(), FuturesUnordered::new());
    for (at, port) in (0..).step_by(2).zip(ports) {
        let (to_port, from_client) = mpsc::channel(MESSAGES_MAX);
        to_ports.push(to_port);
        forwarding.push(forward(at, *port, from_client, frames.clone(), netns));
    }
    drop(frames);
    let write = async {
        while let Some(frame) = to_client.recv().await {
            if sink.send(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
        // The client may have gone first.
        let _ = sink.close().await;
    };
    let read = async {
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(mut bytes) = message else {
                if message.is_close() {
                    break;
                }
                continue;
            };
            if bytes.is_empty() {
                continue;
            }
            let channel = usize::from(bytes.split_to(1)[0]);
            if let Some(to_port) = to_ports.get(channel / 2) {
                // One that has ended takes nothing more.
                let _ = to_port.send(bytes).await;
            }
        }
    };
    let forwarded = async {
        tokio::join!(forwarding.collect::<Vec<()>>(), write);
    };
    tokio::select! {
        () = forwarded => {}
        () = read => {}
    }
}

/// One port: its channel `at`, and the one after it for an error.
async fn forward(
    at: u8,
    port: u16,
    mut from_client: mpsc::Receiver<Bytes>,
    frames: mpsc::Sender<Bytes>,
    netns: Option<&Path>,
) {
    for channel in [at, at + 1] {
        let _ = frames.send(frame(channel, &port.to_le_bytes())).await;
    }
    let forwarded = async {
        let failed = |error: io::Error| {
            let to = format!("localhost:{port} inside the pod's network namespace");
            io::Error::other(format!("failed to connect to {to}: {error}"))
        };
        let stream = connect(netns, port).await.map_err(failed)?;
        let (mut reader, mut writer) = stream.into_split();
        let upwards = async {
            while let Some(bytes) = from_client.recv().await {
                writer.write_all(&bytes).await?;
            }
            writer.shutdown().await
        };
        let downwards = async {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let read = reader.read(&mut chunk).await?;
                if read == 0 || frames.send(frame(at, &chunk[..read])).await.is_err() {
                    return io::Result::Ok(());
                }
            }
        };
        // What the port has said until it closes is all that the client waits for.
        tokio::select! {
            ended = downwards => ended,
            Err(error) = upwards => Err(error),
        }
    };
    if let Err(error) = forwarded.await {
        let why = format!("error forwarding port {port}: {error}");
        let _ = frames.send(frame(at + 1, why.as_bytes())).await;
    }
}

fn frame(channel: u8, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + content.len());
    frame.put_u8(channel);
    frame.put_slice(content);
    frame.freeze()
}
