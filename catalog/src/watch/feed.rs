//! From a resource's events to the index.

use std::{sync::Arc, time::SystemTime};

use kube::{Resource as _, runtime::watcher::Event};
use netting_telemetry::catalog::CatalogMetrics;

use super::{announce::Announcer, source::Source};
use crate::{objects::Parsed, publisher::Publisher};

/// Objects are parsed as they come, and dropped: managed fields, annotations and
/// all else that the index doesn't need never stay.
pub(super) struct Feed<S> {
    publisher: Arc<Publisher>,
    metrics: CatalogMetrics,
    /// The list so far. The index is left as it is until the list is complete.
    listing: Vec<S>,
    announcer: Option<Announcer>,
}

impl<S: Source> Feed<S> {
    pub(super) fn new(publisher: Arc<Publisher>, metrics: CatalogMetrics) -> Self {
        Self {
            publisher,
            metrics,
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
        self.metrics.event(S::RESOURCE, heard_at);
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
                self.publisher
                    .update(heard_at, |index| S::reset(all, index));
                true
            }
            Event::Apply(object) => {
                let Parsed { key, object, .. } = self.parse(&object);
                self.publisher.update(heard_at, |index| match object {
                    Some(object) => object.apply(index),
                    None => S::delete(&key, index),
                });
                false
            }
            Event::Delete(object) => {
                let key = S::parse(&object).key;
                if let Some(announcer) = &mut self.announcer {
                    announcer.forget(&key);
                }
                self.publisher
                    .update(heard_at, |index| S::delete(&key, index));
                false
            }
        };
        self.measure();
        listed
    }

    fn parse(&mut self, object: &S::Resource) -> Parsed<S> {
        let parsed = S::parse(object);
        if let Some(announcer) = &mut self.announcer {
            let complaints = parsed.object.as_ref().map_or(&[][..], S::complaints);
            announcer.tell(&parsed.key, object.object_ref(&()), complaints);
        }
        for refusal in &parsed.refused {
            let reason = refusal.reason.as_str();
            self.metrics.refused_item(S::RESOURCE, reason);
            tracing::warn!(
                resource = S::RESOURCE,
                object = %parsed.key,
                reason,
                value = refusal.value,
                "refused an item of an object"
            );
        }
        parsed
    }

    fn measure(&self) {
        let (sizes, followed) = self.publisher.sizes();
        for (resource, count) in [
            ("services", sizes.services),
            ("endpointslices", sizes.slices),
            ("endpoints", sizes.endpoints),
            ("pods", sizes.pods),
        ] {
            self.metrics.holds(resource, count);
        }
        let followed = i64::try_from(followed).unwrap_or(i64::MAX);
        self.metrics.followed.set(followed);
    }
}
