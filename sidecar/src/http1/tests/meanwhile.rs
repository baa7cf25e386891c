//! Endpoints that come and go while a request is tried, with real sockets.

use super::{
    policy::{ASK, BUSY, CLOSE, UNREACHED, ask, endpoint, meshed},
    *,
};
use crate::proxy::chain::{SERVICE, Tells, full, know_amid_connect, know_meanwhile};

#[tokio::test(flavor = "local")]
async fn a_request_that_cannot_be_connected_goes_where_the_service_is_by_then() {
    let service = SERVICE.into();
    let ((gone, _full), (gone_too, _full_too)) = (full().await, full().await);
    let came = [endpoint(CLOSE).await];
    for before in [&[gone][..], &[gone, gone_too]] {
        let (inbound, _) = Chain::behind(service, &Tells::default()).await;
        let chain = Chain::to(before, inbound).await;
        let meanwhile = know_meanwhile(&chain.outbound.view, service, &came);
        let (answer, ()) = tokio::join!(ask(&chain, ASK), meanwhile);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{before:?}: {answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_does_not_go_to_an_endpoint_that_went_as_it_was_connected() {
    let service = SERVICE.into();
    let (gone, came) = (endpoint(BUSY).await, endpoint(CLOSE).await);
    for (after, status) in [(&[came][..], "200"), (&[], "503")] {
        let (inbound, _) = Chain::behind(service, &Tells::default()).await;
        let chain = Chain::to(&[gone], inbound).await;
        let meanwhile = know_amid_connect(&chain.outbound.view, service, after);
        let (answer, ()) = tokio::join!(ask(&chain, ASK), meanwhile);
        // It is better asked than nobody.
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{after:?}: {answer}");
        assert_eq!(chain.retries("connect_refused"), 0, "nothing has failed");
    }
}

#[tokio::test(flavor = "local")]
async fn what_never_got_to_an_application_that_goes_is_sent_to_the_one_that_comes() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let (gone, addr) = listen().await;
    let policy = netting_proto::v1::ServicePolicy::default();
    let chain = Chain::to_service(&[addr], policy, Some(meshed())).await;
    let mut client = chain.connect().await;
    say(&mut client, post).await;
    let mut app = accept(&gone).await;
    expect(&mut app, post).await;
    drop(gone);
    let came = endpoint(CLOSE).await;
    know(&chain.outbound.view, SERVICE.into(), &[came]);
    say(&mut app, UNREACHED).await;
    expect(&mut client, "HTTP/1.1 200 ").await;
}
