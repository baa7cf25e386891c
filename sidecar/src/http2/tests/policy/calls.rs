//! Calls of gRPC, and what is only called like them.

use super::*;
use crate::proxy::chain::Tells;

fn retrying_grpc() -> v1::ServicePolicy {
    v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            grpc_codes: vec![14],
            ..Default::default()
        }),
        ..retrying()
    }
}

/// An endpoint that is a sidecar whose application cannot be reached, to which calls
/// of gRPC and others have different answers.
async fn unreached() -> SocketAddr {
    says(|| {
        let why = "netting; error=connection_refused; details=\"connect_refused\"";
        Response::builder()
            .status(200)
            .header("grpc-status", "14")
            .header("proxy-status", why)
    })
    .await
}

/// An application that ends its connections once it has a stream.
async fn breaks_off() -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                let _stream = connection.accept().await;
            });
        }
    });
    addr
}

fn meshed() -> v1::Workload {
    v1::Workload {
        meshed: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "local")]
async fn what_an_application_relays_of_another_sidecar_is_not_believed() {
    let tells = Tells::default();
    let gateway = unreached().await;
    let (_own, first) = Chain::behind(gateway, &tells).await;
    let (_other, second) = Chain::behind(gateway, &tells).await;
    let chain = Chain::to_service(&[first, second], never_ejecting(), Some(meshed())).await;
    let mut client = client(&chain).await;
    let response = ask(&mut client, grpc()).await.expect("it is answered");
    let mut passed = response.headers().get_all("proxy-status").iter();
    assert!(
        passed
            .next()
            .is_some_and(|by| by.as_bytes().starts_with(b"netting; error="))
    );
    assert!(passed.next().is_some_and(|by| by == "netting"));
    assert_eq!(
        chain.retries("response_unwanted"),
        0,
        "the gateway has worked"
    );
}

#[tokio::test(flavor = "local")]
async fn what_never_got_from_a_sidecar_to_its_application_is_tried_elsewhere() {
    let endpoints = [unreached().await, good().await];
    let chain = Chain::to_service(&endpoints, never_ejecting(), Some(meshed())).await;
    let mut believing = client(&chain).await;
    let chain = before(&endpoints, never_ejecting()).await;
    let mut doubting = client(&chain).await;
    let mut passed_on = 0;
    for _ in 0..20 {
        let response = ask(&mut believing, grpc()).await.expect("it is answered");
        assert!(!response.headers().contains_key("grpc-status"));
        let response = ask(&mut doubting, grpc()).await.expect("it is answered");
        passed_on += usize::from(response.headers().contains_key("grpc-status"));
    }
    assert!(passed_on > 0, "a stranger is not believed");
}

#[tokio::test(flavor = "local")]
async fn what_breaks_behind_an_endpoints_sidecar_is_a_reset() {
    let breaks = breaks_off().await;
    let (_sidecar, broken) = Chain::behind(breaks, &Tells::default()).await;
    let policy = v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            reset: true,
            // Not what the sidecar answers, but that calls may be made twice.
            grpc_codes: vec![13],
            ..Default::default()
        }),
        ..retrying()
    };
    let endpoints = [broken, good().await];
    let chain = Chain::to_service(&endpoints, policy, Some(meshed())).await;
    let mut client = client(&chain).await;
    for request in [get, grpc].repeat(10) {
        let response = ask(&mut client, request()).await.expect("it is answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("grpc-status"));
    }
    assert!(chain.retries("response_unwanted") > 0);
}

#[tokio::test(flavor = "local")]
async fn a_call_that_is_unavailable_is_made_elsewhere_if_asked() {
    let unavailable = || says(|| Response::builder().header("grpc-status", "14"));
    let endpoints = [unavailable().await, good().await];
    let chain = before(&endpoints, retrying_grpc()).await;
    let mut asked = client(&chain).await;
    let message = b"\0\0\0\0\x02hi".to_vec();
    for _ in 0..10 {
        let response = ask_with(&mut asked, grpc(), message.clone()).await;
        let response = response.expect("it is answered");
        assert!(!response.headers().contains_key("grpc-status"));
    }
    assert!(chain.retries("response_unwanted") > 0);
    let chain = before(&endpoints[..1], never_ejecting()).await;
    let mut unasked = client(&chain).await;
    let response = ask(&mut unasked, grpc()).await.expect("it is answered");
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(chain.retries("response_unwanted"), 0);
}

#[tokio::test(flavor = "local")]
async fn what_is_asked_for_calls_of_grpc_sends_no_other_post_twice() {
    let policy = v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            reset: true,
            statuses: vec![503],
            grpc_codes: vec![14],
        }),
        ..retrying()
    };
    let chain = before(&[busy().await, busy().await], policy).await;
    let mut asked = client(&chain).await;
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    for other in [post("/"), of_type("application/grpc-web+proto")] {
        assert_eq!(status(&mut asked, other).await, busy);
        assert_eq!(chain.retries("response_unwanted"), 0);
    }
    for call in ["application/grpc+proto", "application/grpc;a=b"] {
        let before = chain.retries("response_unwanted");
        assert_eq!(status(&mut asked, of_type(call)).await, busy);
        assert!(chain.retries("response_unwanted") > before, "{call}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_fault_is_no_answer_of_grpc_to_what_is_only_called_like_it() {
    let chain = before(&[nobody().await], never_ejecting()).await;
    let mut client = client(&chain).await;
    for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let response = ask(&mut client, of_type(kind))
            .await
            .expect("it is answered");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert!(!response.headers().contains_key("grpc-status"));
    }
    let calls = chain.count("rpc_client_call_duration_seconds_count", &[]);
    assert_eq!(calls, 0, "{}", chain.metrics.expose());
}
