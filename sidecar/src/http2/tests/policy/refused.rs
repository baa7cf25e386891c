//! Streams that nobody looked at.

use super::*;
use crate::http2::tests::rules::{GOAWAY, HEADERS, SETTINGS, frame, next_frame};

/// An endpoint that refuses so many streams, and answers the others; and how many it has
/// had.
async fn refuses(times: usize) -> (SocketAddr, Rc<Cell<usize>>) {
    let left = Cell::new(times);
    endpoint(move |_, mut respond: Responder| {
        match left.get().checked_sub(1) {
            Some(fewer) => {
                left.set(fewer);
                respond.send_reset(Code::REFUSED_STREAM);
            }
            None => respond_ok(respond),
        }
        std::future::ready(())
    })
    .await
}

/// An endpoint that on so many connections says that it ends, and has looked at
/// nothing. Later ones are good.
async fn goes_away(times: usize) -> (SocketAddr, Rc<Cell<usize>>) {
    let (listener, addr) = listen().await;
    let left = Rc::new(Cell::new(times));
    let count = Rc::clone(&left);
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.get() == 0 {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                spawn_local(async move {
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        respond_ok(respond);
                    }
                });
                continue;
            }
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.expect("it speaks");
            while next_frame(&mut stream).await.expect("it asks").0 != HEADERS {}
            let none = [frame(SETTINGS, 0, 0, &[]), frame(GOAWAY, 0, 0, &[0; 8])];
            stream.write_all(&none.concat()).await.expect("it reads");
            count.set(count.get() - 1);
            spawn_local(async move { while next_frame(&mut stream).await.is_ok() {} });
        }
    });
    (addr, left)
}

#[tokio::test(flavor = "local")]
async fn a_stream_behind_the_last_of_a_goaway_is_sent_again() {
    let (leaving, left) = goes_away(1000).await;
    let chain = before(&[leaving, good().await], never_ejecting()).await;
    let mut asking = client(&chain).await;
    for _ in 0..20 {
        assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
    }
    assert!(left.get() < 1000, "some were sent there first");
    let (back_again, left) = goes_away(2).await;
    let chain = before(&[back_again], never_ejecting()).await;
    let mut asking = client(&chain).await;
    assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
    assert_eq!((left.get(), chain.retries("stream_refused")), (0, 2));
    let (leaving, _) = goes_away(1000).await;
    let chain = before(&[leaving], never_ejecting()).await;
    let error = ask(&mut client(&chain).await, post("/")).await;
    let error = error.expect_err("it was never looked at");
    assert_eq!(error.reason(), Some(Code::REFUSED_STREAM));
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_nobody_looked_at_is_sent_once_more_also_without_retries() {
    let without = || v1::ServicePolicy {
        retries: Some(0),
        ..never_ejecting()
    };
    let (leaving, _) = goes_away(1).await;
    let (refuses_once, refused) = refuses(1).await;
    for endpoint in [leaving, refuses_once] {
        let chain = before(&[endpoint], without()).await;
        let mut asking = client(&chain).await;
        assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
        assert_eq!(chain.retries("stream_refused"), 1);
    }
    assert_eq!(refused.get(), 2);
    let (leaving, left) = goes_away(2).await;
    let chain = before(&[leaving], without()).await;
    let twice = ask(&mut client(&chain).await, post("/")).await;
    let twice = twice.expect_err("it is not sent for ever");
    assert_eq!(twice.reason(), Some(Code::REFUSED_STREAM));
    assert_eq!(left.get(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_goes_elsewhere_whatever_the_method() {
    let (refuses, refused) = resets(Code::REFUSED_STREAM).await;
    let chain = before(&[refuses, good().await], never_ejecting()).await;
    let mut client = client(&chain).await;
    for _ in 0..20 {
        assert_eq!(status(&mut client, post("/")).await, StatusCode::OK);
    }
    assert!(refused.get() > 0, "some were sent there first");
    let retried = chain.retries("stream_refused") as usize;
    assert_eq!(retried, refused.get());
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_is_refused_everywhere_is_tried_as_often_as_the_policy_says() {
    let (refuses, refused) = resets(Code::REFUSED_STREAM).await;
    let once_more = v1::ServicePolicy {
        retries: Some(1),
        ..Default::default()
    };
    let chain = before(&[refuses], once_more).await;
    let error = ask(&mut client(&chain).await, post("/")).await;
    let error = error.expect_err("it is refused");
    assert_eq!(error.reason(), Some(Code::REFUSED_STREAM));
    assert_eq!(refused.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_body_is_sent_again_whole_while_all_of_it_is_kept() {
    let (refuses, refused) = endpoint(async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        Responder::send_reset(&mut respond, Code::REFUSED_STREAM);
    })
    .await;
    let (echoes, _) = endpoint(async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        let said = read(&mut body).await.expect("it is sent");
        let ended = body.trailers().await.expect("they are sent");
        let ended = ended.expect("there are some");
        let mut sink = Responder::send_response(&mut respond, ok(), false).expect("connected");
        sink.send_data(said.into(), false).expect("connected");
        sink.send_trailers(ended).expect("connected");
    })
    .await;
    let chain = before(&[refuses, echoes], never_ejecting()).await;
    let mut client = client(&chain).await;
    let (small, large) = (vec![7; 40_000], vec![7; 70_000]);
    for _ in 0..10 {
        let response = ask_with(&mut client, post("/"), small.clone()).await;
        let mut body = response.expect("it is answered").into_body();
        assert!(read(&mut body).await.expect("all of it") == small);
        let ended = body.trailers().await.expect("they are sent");
        assert_eq!(ended.expect("there are some")["checksum"], "1");
    }
    let before = refused.get();
    assert!(before > 0, "some were sent there first");
    let mut failed = 0;
    for _ in 0..20 {
        let response = ask_with(&mut client, post("/"), large.clone()).await;
        failed += usize::from(response.is_err());
    }
    assert_eq!(failed, refused.get() - before, "none of them is sent again");
    assert!(failed > 0, "some were sent there first");
}
