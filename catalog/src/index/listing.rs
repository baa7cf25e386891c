//! The index as people ask it: by service, not by address.

use std::sync::Arc;

use super::{Index, state::State};
use crate::objects::{Family, Key, Service};

impl Index {
    /// All services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// A service.
    #[must_use]
    pub fn service(&self, key: &Key) -> Option<&Service> {
        self.services.get(key)
    }

    /// Whether this meshed pod's application has ended, and its sidecar has not.
    #[must_use]
    pub fn application_ended(&self, pod: &Key) -> bool {
        self.pods.get(pod).is_some_and(|pod| pod.application_ended)
    }

    /// The zone of a node, once an endpoint is known that runs on it.
    #[must_use]
    pub fn zone_of(&self, node: &str) -> Option<&Arc<str>> {
        self.zones.of(node)
    }

    /// What is behind each port of a service, in each family that has any: its
    /// ports in their order, IPv4 first. Headless services are no exception.
    #[must_use]
    pub fn service_states(&self, service: &Service) -> Vec<State> {
        let mut states = Vec::new();
        for port in &service.ports {
            for family in Family::ALL {
                let state = self.service_state(service, port, family);
                if !state.endpoints.is_empty() {
                    states.push(state);
                }
            }
        }
        states
    }
}
