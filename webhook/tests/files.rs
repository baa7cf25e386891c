//! A certificate given as files, which change as the kubelet and people change them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, SystemTime},
};

use netting_runtime::Readiness;
use netting_telemetry::{Metrics, admission::CertificateMetrics};
use netting_webhook::certificate::{
    CaPem, CertificateError,
    files::{Files, LOOK_EVERY},
    self_made::{self, SelfMade},
    serving::{Anchors, Server, Serving},
};
use tempfile::TempDir;
use tokio::{sync::watch, time::sleep};

use replica::{HOST, handshake};

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;
#[path = "cluster/replica.rs"]
#[allow(dead_code, reason = "here nothing keeps a Secret")]
mod replica;

struct Followed {
    serving: Serving,
    anchors: watch::Receiver<Option<Anchors>>,
    trusted_cas: watch::Sender<Vec<CaPem>>,
    metrics: Metrics,
}

fn made() -> SelfMade {
    self_made::make(HOST, SystemTime::now()).expect("it is a name")
}

fn write(dir: &Path, made: &SelfMade) {
    for (name, text) in [
        ("tls.crt", &made.pair.chain),
        ("tls.key", &made.pair.key),
        ("ca.crt", &made.ca.0),
    ] {
        fs::write(dir.join(name), text).expect("a temporary file can be written");
    }
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("there is a temporary directory")
}

fn follow(dir: &Path, with_ca: bool) -> Result<Followed, CertificateError> {
    let metrics = Metrics::new("webhook", "0");
    let has_certificate = Readiness::new().condition("has a certificate");
    let (server, serving, anchors) =
        Server::new(has_certificate, CertificateMetrics::register(&metrics));
    let (trusted_cas, trusted_by_now) = watch::channel(Vec::new());
    let files = Files {
        chain: dir.join("tls.crt"),
        key: dir.join("tls.key"),
        ca: with_ca.then(|| dir.join("ca.crt")),
        host: Some(HOST.to_owned()),
    };
    tokio::spawn(files.follow(server, trusted_by_now)?);
    Ok(Followed {
        serving,
        anchors,
        trusted_cas,
        metrics,
    })
}

async fn looks() {
    sleep(3 * LOOK_EVERY).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_with_at_the_start_is_refused_and_named() {
    let dir = dir();
    let refused = |with_ca| follow(dir.path(), with_ca).err().map(|why| why.to_string());
    let why = refused(false).expect("there are no files");
    assert!(why.contains("tls.crt"), "{why}");
    write(dir.path(), &made());
    fs::write(dir.path().join("ca.crt"), "garbage").expect("it can be written");
    let why = refused(true).expect("the CA is none");
    assert!(why.contains("ca.crt has no certificate"), "{why}");
    assert_eq!(refused(false), None, "the CA was not asked for");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_would_accept_is_refused_at_the_start_and_changes_nothing_later() {
    let (dir, right, now) = (dir(), made(), SystemTime::now());
    let make = |host, when| self_made::make(host, when).expect("it is a name");
    let hundred_days = Duration::from_secs(100 * 24 * 60 * 60);
    let mut of_another_ca = made();
    of_another_ca.ca = made().ca;
    let wrong = [
        (
            make("netting-webhook.netting", now),
            "is not for netting-webhook.netting.svc",
        ),
        (make(HOST, now - hundred_days), "has expired"),
        (of_another_ca, "whoever trusts its CAs"),
    ];
    for (wrong, why) in &wrong {
        write(dir.path(), wrong);
        let refused = follow(dir.path(), true).err().map(|why| why.to_string());
        let refused = refused.expect("nobody would accept it");
        assert!(refused.contains(why), "{refused}: expected {why}");
    }
    write(dir.path(), &right);
    let followed = follow(dir.path(), true).expect("it is right");
    let cas = [right.ca.clone()];
    for (wrong, why) in &wrong {
        write(dir.path(), wrong);
        followed
            .trusted_cas
            .send_replace(vec![wrong.ca.clone(), right.ca.clone()]);
        looks().await;
        assert!(handshake(&followed.serving, &cas).await.is_some(), "{why}");
        let exposed = followed.metrics.expose();
        assert!(
            exposed.contains("netting_certificate_refused 1\n"),
            "{exposed}"
        );
    }
    write(dir.path(), &right);
    looks().await;
    let exposed = followed.metrics.expose();
    assert!(
        exposed.contains("netting_certificate_refused 0\n"),
        "{exposed}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_the_kubelet_swaps_is_read_again() {
    let (volume, first, second) = (dir(), made(), made());
    let swap_to = |version: &str, made: &SelfMade| {
        let version = volume.path().join(version);
        fs::create_dir(&version).expect("it is new");
        write(&version, made);
        let link = volume.path().join("..data_tmp");
        symlink(&version, &link).expect("it is new");
        fs::rename(link, volume.path().join("..data")).expect("a link can be replaced");
    };
    swap_to("..1", &first);
    let data = volume.path().join("..data");
    let followed = follow(&data, false).expect("they are there");
    let serves = async |made: &SelfMade| {
        let cas = [made.ca.clone()];
        handshake(&followed.serving, &cas).await.is_some()
    };
    assert!(serves(&first).await);
    swap_to("..2", &second);
    looks().await;
    assert!(serves(&second).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_later_changes_nothing_until_it_is_right_again() {
    let (dir, first, second) = (dir(), made(), made());
    write(dir.path(), &first);
    let followed = follow(dir.path(), false).expect("they are there");
    let cas = [first.ca.clone(), second.ca.clone()];
    let begun = handshake(&followed.serving, &cas).await;
    fs::write(dir.path().join("tls.crt"), &second.pair.chain).expect("it can be written");
    looks().await;
    assert_eq!(handshake(&followed.serving, &cas).await, begun);
    fs::remove_file(dir.path().join("tls.crt")).expect("it is there");
    looks().await;
    assert_eq!(handshake(&followed.serving, &cas).await, begun);
    write(dir.path(), &second);
    looks().await;
    let now = handshake(&followed.serving, &cas).await;
    assert!(now.is_some() && now != begun);
}

#[tokio::test(start_paused = true)]
async fn a_new_ca_is_trusted_before_its_certificate_is_served() {
    let (dir, first, second) = (dir(), made(), made());
    write(dir.path(), &first);
    let followed = follow(dir.path(), true).expect("they are there");
    let asked_for = || followed.anchors.borrow().clone().map(|anchors| anchors.cas);
    assert_eq!(asked_for(), Some(vec![first.ca.clone()]));
    followed.trusted_cas.send_replace(vec![first.ca.clone()]);
    write(dir.path(), &second);
    looks().await;
    let both = vec![second.ca.clone(), first.ca.clone()];
    assert_eq!(asked_for(), Some(both.clone()));
    let old = [first.ca.clone()];
    assert!(handshake(&followed.serving, &old).await.is_some());
    followed.trusted_cas.send_replace(both);
    looks().await;
    assert!(handshake(&followed.serving, &old).await.is_none());
    assert_eq!(asked_for(), Some(vec![second.ca.clone()]));
}
