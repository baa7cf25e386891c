//! Which Events there are already, so that the same one is counted up rather than
//! written again, and how many more there may be. Plain data.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::complaint::Complaint;

/// An Event that has not come up again for so long is a new one then, as it is with
/// the Events of Kubernetes itself.
const FORGET_AFTER: Duration = Duration::from_secs(6 * 60);
/// An Event is counted up so often at most, however often it comes up.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// So many are remembered; more than that at once is somebody's bad script.
const ENTRIES_MAX: usize = 1024;
/// So many new Events at once, and then one each [`REFILL_EVERY`].
const BURST: u32 = 25;
const REFILL_EVERY: Duration = Duration::from_secs(2);

/// The Events of the last minutes.
pub(super) struct Ledger {
    entries: HashMap<Complaint, Entry>,
    /// New Events that may be written.
    tokens: u32,
    refilled: Instant,
}

struct Entry {
    /// The Event's name.
    name: String,
    /// How often it came up.
    count: i32,
    /// How often the Event says so.
    written: i32,
    last_seen: Instant,
    last_written: Instant,
}

/// What is to be done about something that has come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// Write an Event.
    New,
    /// Nothing yet: it will be counted up.
    Again,
    /// Nothing: there are too many.
    TooMany,
}

/// An Event that says too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) count: i32,
}

impl Ledger {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: HashMap::new(),
            tokens: BURST,
            refilled: now,
        }
    }

    /// Something has come up. `name` is what its Event will be called, if it is new.
    pub(super) fn enter(&mut self, complaint: &Complaint, name: &str, now: Instant) -> Entered {
        if let Some(entry) = self.entries.get_mut(complaint) {
            entry.count = entry.count.saturating_add(1);
            entry.last_seen = now;
            return Entered::Again;
        }
        self.refill(now);
        if self.tokens == 0 || self.entries.len() == ENTRIES_MAX {
            return Entered::TooMany;
        }
        self.tokens -= 1;
        let entry = Entry {
            name: name.to_owned(),
            count: 1,
            written: 1,
            last_seen: now,
            last_written: now,
        };
        self.entries.insert(complaint.clone(), entry);
        Entered::New
    }

    /// Its Event could not be written, and is to be tried again the next time.
    pub(super) fn forget(&mut self, complaint: &Complaint) {
        self.entries.remove(complaint);
    }

    /// The Events to be counted up now, which are taken as done. Those that are over
    /// are forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Series> {
        let mut due = Vec::new();
        self.entries.retain(|complaint, entry| {
            if entry.count > entry.written && now - entry.last_written >= COUNT_EVERY {
                entry.written = entry.count;
                entry.last_written = now;
                due.push(Series {
                    namespace: complaint.regarding.namespace.clone(),
                    name: entry.name.clone(),
                    count: entry.count,
                });
            }
            entry.count > entry.written || now - entry.last_seen < FORGET_AFTER
        });
        due
    }

    fn refill(&mut self, now: Instant) {
        let intervals = (now - self.refilled).as_millis() / REFILL_EVERY.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(intervals).min(BURST);
        self.refilled += REFILL_EVERY * intervals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::complaint::Regarding;

    fn complaint(note: usize) -> Complaint {
        let regarding = Regarding {
            namespace: "shop".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: "ReplicaSet".to_owned(),
            name: "web-1".to_owned(),
            uid: None,
        };
        Complaint {
            regarding,
            reason: "NettingOptionIgnored",
            note: note.to_string(),
        }
    }

    #[test]
    fn a_hundred_replicas_are_one_event_that_is_counted_up_once() {
        let begun = Instant::now();
        let mut ledger = Ledger::new(begun);
        assert_eq!(ledger.enter(&complaint(0), "first", begun), Entered::New);
        for _ in 1..100 {
            let entered = ledger.enter(&complaint(0), "other", begun);
            assert_eq!(entered, Entered::Again);
        }
        assert_eq!(ledger.due(begun), []);
        let series = Series {
            namespace: "shop".to_owned(),
            name: "first".to_owned(),
            count: 100,
        };
        assert_eq!(ledger.due(begun + COUNT_EVERY), [series]);
        assert_eq!(ledger.due(begun + 2 * COUNT_EVERY), []);
    }

    #[test]
    fn too_many_at_once_are_dropped_and_later_ones_are_not() {
        let begun = Instant::now();
        let mut ledger = Ledger::new(begun);
        let burst = usize::try_from(BURST).expect("it is small");
        for note in 0..burst {
            assert_eq!(ledger.enter(&complaint(note), "e", begun), Entered::New);
        }
        let one_more = complaint(burst);
        assert_eq!(ledger.enter(&one_more, "e", begun), Entered::TooMany);
        assert_eq!(ledger.enter(&complaint(0), "e", begun), Entered::Again);
        let later = begun + REFILL_EVERY;
        assert_eq!(ledger.enter(&one_more, "e", later), Entered::New);
        assert_eq!(ledger.enter(&complaint(99), "e", later), Entered::TooMany);
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut now = Instant::now();
        let mut ledger = Ledger::new(now);
        for note in 0..ENTRIES_MAX {
            now += REFILL_EVERY;
            assert_eq!(ledger.enter(&complaint(note), "e", now), Entered::New);
        }
        now += REFILL_EVERY;
        let one_more = complaint(ENTRIES_MAX);
        assert_eq!(ledger.enter(&one_more, "e", now), Entered::TooMany);
        ledger.due(now);
        assert_eq!(ledger.enter(&one_more, "e", now), Entered::New);
    }

    #[test]
    fn what_has_not_come_up_for_long_or_was_not_written_is_new_again() {
        let begun = Instant::now();
        let mut ledger = Ledger::new(begun);
        ledger.enter(&complaint(0), "first", begun);
        ledger.due(begun + FORGET_AFTER);
        let later = begun + FORGET_AFTER;
        assert_eq!(ledger.enter(&complaint(0), "second", later), Entered::New);
        ledger.forget(&complaint(0));
        assert_eq!(ledger.enter(&complaint(0), "third", later), Entered::New);
    }
}
