//! Endpoints that come and go while a stream is tried.

use super::*;
use crate::proxy::chain::{SERVICE, Tells, full, know_amid_connect, know_meanwhile};

#[tokio::test(flavor = "local")]
async fn a_stream_that_cannot_be_connected_goes_where_the_service_is_by_then() {
    let service = SERVICE.into();
    let ((gone, _full), (gone_too, _full_too)) = (full().await, full().await);
    let came = [good().await];
    for before in [&[gone][..], &[gone, gone_too]] {
        let (inbound, _) = Chain::behind(service, &Tells::default()).await;
        let chain = Chain::to(before, inbound).await;
        let mut asking = client(&chain).await;
        let meanwhile = know_meanwhile(&chain.outbound.view, service, &came);
        let (status, ()) = tokio::join!(status(&mut asking, post("/")), meanwhile);
        assert_eq!(status, StatusCode::OK, "{before:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_stream_does_not_go_to_an_endpoint_that_went_as_it_was_connected() {
    let service = SERVICE.into();
    let (gone, came) = (busy().await, good().await);
    for (after, expected) in [(&[came][..], 200), (&[], 503)] {
        let (inbound, _) = Chain::behind(service, &Tells::default()).await;
        let chain = Chain::to(&[gone], inbound).await;
        let mut asking = client(&chain).await;
        let meanwhile = know_amid_connect(&chain.outbound.view, service, after);
        let (status, ()) = tokio::join!(status(&mut asking, post("/")), meanwhile);
        // It is better asked than nobody.
        assert_eq!(status.as_u16(), expected, "{after:?}");
    }
}
