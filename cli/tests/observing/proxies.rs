//! Proxies that lead to one address, whatever they are asked for, and note what that was.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// How a proxy is asked, and answers.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// By CONNECT, answered with this status; what authorises it is noted too.
    Http(&'static str),
    /// SOCKS 5 (RFC 1928) with a user and a password (RFC 1929).
    Socks,
}

/// A proxy, for as long as the test runs.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn serve(kind: Kind, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut downstream, _)) = listener.accept().await {
                let noted = noted.clone();
                tokio::spawn(async move {
                    let (what, connects) = match kind {
                        Kind::Http(status) => http(&mut downstream, status).await?,
                        Kind::Socks => (socks(&mut downstream).await?, true),
                    };
                    noted.lock().expect("nobody panics with it").push(what);
                    if connects {
                        let mut upstream = TcpStream::connect(to).await.ok()?;
                        copy_bidirectional(&mut downstream, &mut upstream)
                            .await
                            .ok()?;
                    }
                    Some(())
                });
            }
        });
        Self { address, asked }
    }

    /// What was asked of it until now, each once.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().expect("nobody panics with it").clone();
        asked.dedup();
        asked
    }
}

/// What is asked for, and whether it is granted. `None` if the client goes away.
async fn http(stream: &mut TcpStream, status: &str) -> Option<(String, bool)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.ok()?));
    }
    let line = |name: &str| head.lines().find(|line| line.starts_with(name));
    let auth = line("Proxy-Authorization:").unwrap_or_default();
    let what = format!("{} {auth}", line("CONNECT ")?);
    let answer = format!("HTTP/1.1 {status}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()?;
    Some((what.trim_end().to_owned(), status.starts_with("200")))
}

async fn socks(stream: &mut TcpStream) -> Option<String> {
    assert_eq!(stream.read_u8().await.ok()?, 5);
    let methods = counted(stream).await?;
    assert!(methods.contains('\u{2}'), "user and password: {methods:?}");
    stream.write_all(&[5, 2]).await.ok()?;
    assert_eq!(stream.read_u8().await.ok()?, 1);
    let user = counted(stream).await?;
    let password = counted(stream).await?;
    stream.write_all(&[1, 0]).await.ok()?;
    // CONNECT, and to a name that the proxy is to resolve.
    assert_eq!(stream.read_u32().await.ok()?, 0x0501_0003);
    let host = counted(stream).await?;
    let port = stream.read_u16().await.ok()?;
    let granted = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    stream.write_all(&granted).await.ok()?;
    Some(format!("{user}:{password} {host}:{port}"))
}

/// A byte that says how many follow, and those.
async fn counted(stream: &mut TcpStream) -> Option<String> {
    let count = stream.read_u8().await.ok()?;
    let mut bytes = vec![0; count.into()];
    stream.read_exact(&mut bytes).await.ok()?;
    String::from_utf8(bytes).ok()
}
