//! Endpoints that come and go while a connection to one is being made.

use super::{
    chain::{SERVICE, full, know_meanwhile},
    *,
};

#[tokio::test(flavor = "local")]
async fn what_is_relayed_goes_where_the_service_is_once_a_connect_has_failed() {
    let service = SERVICE.into();
    let ((gone, _full), (gone_too, _full_too)) = (full().await, full().await);
    let came = named("127.0.0.3", "came").await;
    for before in [&[gone][..], &[gone, gone_too]] {
        let fixture = fixture();
        let view = &fixture.outbound.view;
        // What nobody knows passes through, so it has to be asked for once.
        view.resolve(OriginalDst(service)).await;
        know(view, service, before);
        let client = fixture.connection(Some(service)).await;
        know_meanwhile(view, service, &[came]).await;
        let said = answer(client).await;
        assert_eq!(said.expect("it is connected"), "came", "{before:?}");
    }
}
