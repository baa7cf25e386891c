//! The books over HTTP: `GET /stats`, `PUT /reset`, `GET /healthz`.

use hyper::{Method, StatusCode};
use tokio::net::TcpListener;

use crate::http::{connection, json};
use crate::journal;
use crate::load::Books;
use crate::server::{self, OnSigterm};
use crate::terminate::Terminate;

/// Serves until it's dropped: the books are readable to the last moment.
pub(super) async fn serve(listener: TcpListener, books: Books) {
    let (_never_asked, terminate) = Terminate::by_hand();
    server::serve(listener, OnSigterm::Exit, terminate, |stream, _, ending| {
        let books = books.clone();
        async move {
            connection::serve(stream, ending, |request| {
                let answer = answer(&books, request.method(), request.uri().path());
                async move { answer }
            })
            .await;
        }
    })
    .await;
}

fn answer(books: &Books, method: &Method, path: &str) -> hyper::Response<crate::http::ReplyBody> {
    let now = journal::unix_milliseconds();
    match (method, path) {
        (&Method::GET, "/stats") => json(StatusCode::OK, &books.open().summary(now)),
        (&Method::PUT, "/reset") => {
            let mut books = books.open();
            let before = books.summary(now);
            books.reset(now);
            json(StatusCode::OK, &before)
        }
        (&Method::GET, "/healthz") => json(StatusCode::OK, &serde_json::json!({"ready": true})),
        _ => {
            let usage = "GET /stats, PUT /reset (answers with the books before), GET /healthz";
            json(StatusCode::NOT_FOUND, &serde_json::json!({"error": usage}))
        }
    }
}
