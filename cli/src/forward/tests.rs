//! Connections to a port of a pod that come to nothing.

use std::future::{pending, ready};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const BUFFER_BYTES: usize = 4096;

/// What is made of a connection that says this once it has been asked, and closes.
async fn asked(says: &str, complaint: Complaint) -> NoAnswer {
    let (near, mut far) = duplex(BUFFER_BYTES);
    let session = Session::over(near, complaint, "shop/web-1".to_owned(), 15020).await;
    let mut session = session.expect("there is nobody to greet");
    let asks = async move { session.get("/config").await };
    let closes = async move {
        // It is not asked if a complaint comes first.
        if far.read_u8().await.is_ok() {
            far.write_all(says.as_bytes()).await.expect("it listens");
        }
    };
    let (answer, ()) = tokio::join!(asks, closes);
    answer.expect_err("there is no answer")
}

#[tokio::test]
async fn a_pod_that_hangs_up_does_not_take_the_connection_whoever_says_so() {
    let told = asked("", Box::pin(ready("refused by the kubelet\n".to_owned()))).await;
    let untold = asked("", Box::pin(pending())).await;
    let begins = "pod shop/web-1 does not take a connection at port 15020: ";
    assert_eq!(told.line(), format!("{begins}refused by the kubelet"));
    assert_eq!(untold.line(), format!("{begins}{HUNG_UP}"));
}

#[tokio::test]
async fn a_complaint_that_comes_with_the_end_is_told() {
    // It is looked for first, and again at the end.
    let mut looks = 0;
    let late = std::future::poll_fn(move |_| {
        looks += 1;
        if looks == 1 {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready("too late to be heard first".to_owned())
        }
    });
    let (near, far) = duplex(BUFFER_BYTES);
    drop(far);
    let pod = "shop/web-1".to_owned();
    let session = Session::over(near, Box::pin(late), pod, 15020).await;
    let mut session = session.expect("there is nobody to greet");
    let why = session.get("/config").await.expect_err("it was closed");
    assert!(why.line().ends_with("too late to be heard first"), "{why}");
}

#[tokio::test]
async fn an_answer_that_is_none_or_half_of_one_is_no_refusal() {
    for says in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let why = asked(says, Box::pin(pending())).await;
        assert!(matches!(why, NoAnswer::BrokeOff(_)), "{says}: {why}");
    }
}
