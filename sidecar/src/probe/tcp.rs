//! `tcpSocket`: does anybody accept a connection?

use super::{
    Asking,
    outcome::{Answer, Failure},
};

/// # Errors
/// If nobody does.
pub(super) async fn ask(port: u16, asking: &Asking) -> Result<Answer, Failure> {
    asking.connect(port).await.map(|_| Answer::Yes)
}
