//! `grpc`: `grpc.health.v1.Health/Check`, in plain text as the kubelet asks it
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::io;

use axum::http::{HeaderValue, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

use super::{
    Asking,
    outcome::{Answer, Failure},
};

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// # Errors
/// If the service is not serving, or nobody says so.
pub(super) async fn ask(service: &str, port: u16, asking: &Asking) -> Result<Answer, Failure> {
    let channel = connect(port, asking).await?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(Failure::Grpc)?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let answered = client.unary(Request::new(request), path, codec).await;
    let response = answered.map_err(|status| match status.code() {
        Code::Unimplemented => Failure::Unimplemented,
        _ => Failure::Rpc(Box::new(status)),
    })?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(Answer::Yes),
        ServingStatus::Unknown => Err(Failure::NotServing("UNKNOWN")),
        ServingStatus::NotServing => Err(Failure::NotServing("NOT_SERVING")),
        ServingStatus::ServiceUnknown => Err(Failure::NotServing("SERVICE_UNKNOWN")),
    }
}

/// HTTP/2 without TLS over a connection of its own.
async fn connect(port: u16, asking: &Asking) -> Result<Channel, Failure> {
    let stream = asking.connect(port).await?;
    let addr = stream.peer_addr().map_err(Failure::Unreachable)?;
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        std::future::ready(stream.ok_or(io::Error::from(io::ErrorKind::NotConnected)))
    });
    let agent: HeaderValue = asking.user_agent.clone();
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .and_then(|endpoint| endpoint.user_agent(agent))
        .map_err(Failure::Grpc)?;
    endpoint
        .connect_with_connector(once)
        .await
        .map_err(Failure::Grpc)
}
