//! From a resource's events to the index.

use std::time::SystemTime;

use kube::{Resource as _, runtime::watcher::Event};
use netting_telemetry::trace::{Received, Work, span::Kind};

use super::{Feeding, announce::Announcer, source::Source};
use crate::{
    index::{Changes, Index},
    objects::{Key, Parsed},
};

/// As much of a value as the log has: it may be an annotation, of 256 KiB.
const LOGGED_BYTES_MAX: usize = 253;

/// Objects are parsed as they come, and dropped: managed fields, annotations and
/// all else that the index doesn't need never stay.
pub(super) struct Feed<S> {
    feeding: Feeding,
    /// The list so far. The index is left as it is until the list is complete.
    listing: Vec<S>,
    announcer: Option<Announcer>,
}

impl<S: Source> Feed<S> {
    pub(super) fn new(feeding: Feeding) -> Self {
        Self {
            feeding,
            listing: Vec::new(),
            announcer: None,
        }
    }

    /// Announces what is wrong with the objects.
    pub(super) fn announcing(self, announcer: Announcer) -> Self {
        Self {
            announcer: Some(announcer),
            ..self
        }
    }

    /// A list begins; one that was begun before has failed.
    pub(super) fn begin(&mut self) {
        self.listing.clear();
    }

    /// Brings an event into force. Whether it completed a list.
    pub(super) fn take(&mut self, event: Event<S::Resource>, heard_at: SystemTime) -> bool {
        self.feeding.metrics.event(S::RESOURCE, heard_at);
        let listed = match event {
            Event::Init => {
                self.begin();
                return false;
            }
            Event::InitApply(object) => {
                let parsed = self.parse(&object);
                self.listing.extend(parsed.object);
                return false;
            }
            Event::InitDone => {
                let all = std::mem::take(&mut self.listing);
                let mut work = self.work("list");
                work.note("netting.catalog.objects", all.len());
                self.update(work, heard_at, |index| S::reset(all, index));
                true
            }
            Event::Apply(object) => {
                let mut work = self.work("apply");
                let Parsed { key, object, .. } = self.parse(&object);
                note_object(&mut work, &key);
                self.update(work, heard_at, |index| match object {
                    Some(object) => object.apply(index),
                    None => S::delete(&key, index),
                });
                false
            }
            Event::Delete(object) => {
                let mut work = self.work("delete");
                let key = S::parse(&object).key;
                note_object(&mut work, &key);
                if let Some(announcer) = &mut self.announcer {
                    announcer.forget(&key);
                }
                self.update(work, heard_at, |index| S::delete(&key, index));
                false
            }
        };
        self.measure();
        listed
    }

    /// The span of a change, from the event to when all whom it concerns are marked.
    fn work(&self, event: &'static str) -> Work {
        let tracer = self.feeding.tracer.as_ref();
        let received = Received::default();
        let mut work = Work::begin(tracer, Kind::Internal, "update index", &received);
        work.note("netting.catalog.resource", S::RESOURCE);
        work.note("netting.catalog.event", event);
        work
    }

    fn update(
        &self,
        mut work: Work,
        heard_at: SystemTime,
        change: impl FnOnce(&mut Index) -> Changes,
    ) {
        let effect = self.feeding.publisher.update(heard_at, change);
        work.note("netting.catalog.changed_addresses", effect.addresses);
        work.note("netting.catalog.marked_streams", effect.marked);
        work.end();
    }

    fn parse(&mut self, object: &S::Resource) -> Parsed<S> {
        let parsed = S::parse(object);
        if let Some(announcer) = &mut self.announcer {
            let complaints = parsed.object.as_ref().map_or(&[][..], S::complaints);
            announcer.tell(&parsed.key, object.object_ref(&()), complaints);
        }
        for refusal in &parsed.refused {
            let reason = refusal.reason.as_str();
            self.feeding.metrics.refused_item(S::RESOURCE, reason);
        }
        // One line for each event, however many there are: objects are tenants' to write.
        if let Some(first) = parsed.refused.first() {
            tracing::warn!(
                resource = S::RESOURCE,
                object = %parsed.key,
                reason = first.reason.as_str(),
                value = beginning(&first.value),
                count = parsed.refused.len(),
                "refused items of an object, of which this is the first"
            );
        }
        parsed
    }

    fn measure(&self) {
        let (sizes, followed) = self.feeding.publisher.sizes();
        for (resource, count) in [
            ("services", sizes.services),
            ("endpointslices", sizes.slices),
            ("endpoints", sizes.endpoints),
            ("pods", sizes.pods),
        ] {
            self.feeding.metrics.holds(resource, count);
        }
        let followed = i64::try_from(followed).unwrap_or(i64::MAX);
        self.feeding.metrics.followed.set(followed);
    }
}

fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(LOGGED_BYTES_MAX)]
}

fn note_object(work: &mut Work, key: &Key) {
    work.note_text("netting.catalog.object.namespace", &key.namespace);
    work.note_text("netting.catalog.object.name", &key.name);
}
