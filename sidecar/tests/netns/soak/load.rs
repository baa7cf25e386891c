//! Clients that ask all the time, and what came of that.

use std::{
    cell::RefCell,
    error::Error,
    fmt,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use tokio::{
    task::LocalSet,
    time::{sleep, timeout},
};

use super::{
    app::{BODY, ID, Seen},
    client::{Late, Sender},
    end::End,
    service::Service,
};
use crate::harness::WAITED_FOR;

/// Requests at a time: each client has one under way.
const AT_A_TIME: usize = 8;
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(20);

/// What the sidecar says of a request whose replica was killed under it.
const LOST: &str = "upstream_closed";

/// What came of the requests to a service.
#[derive(Debug)]
pub(super) struct Load {
    service: Service,
    pub(super) answered: usize,
    failures: Vec<String>,
    lost: Vec<Lost>,
    slowest: Duration,
}

/// A request that a replica may have worked on when it was killed, and that may not be done
/// twice: no retry covers it.
#[derive(Debug)]
struct Lost {
    id: u64,
    begun: Instant,
    ended: Instant,
}

/// How often a request may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Twice, if need be: GET.
    Repeatable,
    /// Once at most: POST, with a body that comes after its head, as most clients say it.
    Once,
}

/// Why a request was not answered as it should be.
enum Failed {
    /// There is no answer, or another one.
    Unanswered(String),
    /// The answer broke off, after whose beginning nothing is tried again.
    Amid,
}

impl<E: Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed::Unanswered(format!("{error:?}"))
    }
}

impl Load {
    /// Asks until it is stopped, in the namespace of the calling thread.
    pub(super) fn run(service: Service, stopped: &Arc<AtomicBool>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let load = Rc::new(RefCell::new(Self {
            service,
            answered: 0,
            failures: Vec::new(),
            lost: Vec::new(),
            slowest: Duration::ZERO,
        }));
        let clients = LocalSet::new();
        for _ in 0..AT_A_TIME {
            clients.spawn_local(ask_until_stopped(Rc::clone(&load), Arc::clone(stopped)));
        }
        runtime.block_on(clients);
        Rc::into_inner(load).expect("all have ended").into_inner()
    }

    fn note(&mut self, kind: Kind, failed: Option<Failed>, (id, begun): (u64, Instant)) {
        let ended = Instant::now();
        self.slowest = self.slowest.max(ended - begun);
        // Nobody has asked for resets to be followed by another try, or nobody may.
        let is_covered = kind == Kind::Repeatable && self.service.policy().is_some();
        match failed {
            None => self.answered += 1,
            Some(Failed::Unanswered(why)) if is_covered || !why.contains(LOST) => {
                self.failures.push(why);
            }
            Some(Failed::Unanswered(_) | Failed::Amid) => {
                self.lost.push(Lost { id, begun, ended });
            }
        }
    }

    /// How many failed that a retry should have saved.
    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Requests are lost at the ends of replicas only: those that they had begun, and
    /// where it can't be told, those that were about to get there.
    pub(super) fn assert_lost_at(&self, ends: &[End], seen: &Seen) {
        let most = AT_A_TIME * ends.len();
        assert!(self.lost.len() <= most, "{most} at most: {self}");
        for lost in &self.lost {
            let may_be = |end: &&End| end.was_within(lost.begun, lost.ended);
            let ways: Vec<_> = ends.iter().filter(may_be).map(|end| end.way).collect();
            assert!(!ways.is_empty(), "nobody ended: {lost:?}; {self}");
            let is_told = ways.iter().all(|way| self.service.tells_unread(*way));
            let may_be_lost = !is_told || seen.has_begun(lost.id);
            assert!(may_be_lost, "nobody had read it: {ways:?} {lost:?}; {self}");
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        write!(
            f,
            "{:?}: {} answered, the slowest after {:?}; {} lost, {} failed {first:?}",
            self.service,
            self.answered,
            self.slowest,
            self.lost.len(),
            self.failures.len(),
        )
    }
}

/// One client.
async fn ask_until_stopped(load: Rc<RefCell<Load>>, stopped: Arc<AtomicBool>) {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let service = load.borrow().service;
    let mut sender = None;
    let mut kinds = [Kind::Repeatable, Kind::Once].into_iter().cycle();
    while !stopped.load(Relaxed) {
        let kind = kinds.next().expect("it goes on and on");
        let (id, begun) = (IDS.fetch_add(1, Relaxed), Instant::now());
        let asked = timeout(WAITED_FOR, ask(service, (kind, id), &mut sender)).await;
        let failed = match asked {
            Ok(asked) => asked.err(),
            Err(_) => Some(Failed::Unanswered("it hangs".to_owned())),
        };
        if failed.is_some() {
            sender = None;
        }
        load.borrow_mut().note(kind, failed, (id, begun));
        sleep(PAUSE).await;
    }
}

async fn ask(
    service: Service,
    (kind, id): (Kind, u64),
    sender: &mut Option<Sender>,
) -> Result<(), Failed> {
    let sender = match sender {
        Some(sender) => sender,
        None => sender.insert(Sender::connect(service).await?),
    };
    let (method, body) = match kind {
        Kind::Repeatable => (Method::GET, ""),
        Kind::Once => (Method::POST, "a word"),
    };
    let request = Request::builder().method(method).uri("http://app.test/");
    let request = request.header("host", "app.test").header(ID, id);
    let answer = sender.send(request.body(Late::new(body))?).await?;
    if answer.status() != 200 {
        return Err(Failed::Unanswered(format!("{answer:?}")));
    }
    let body = answer.into_body().collect().await;
    let body = body.map_err(|_| Failed::Amid)?.to_bytes();
    if body != BODY {
        return Err(Failed::Unanswered(format!("another answer: {body:?}")));
    }
    Ok(())
}
