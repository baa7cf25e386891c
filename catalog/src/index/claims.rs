//! Who holds an IP.
//!
//! Kubernetes gives an IP to one object at a time, but the objects arrive on their
//! own: for a while two may name the same one. The younger is then the holder; if
//! it goes, the IP is the other's again.

use std::{collections::HashMap, net::IpAddr};

use crate::objects::{Born, Key};

#[derive(Debug, Default)]
pub(super) struct Claims {
    by_ip: HashMap<IpAddr, Vec<Claim>>,
}

/// Ordered by age, the youngest last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    born: Born,
    key: Key,
}

impl Claims {
    pub(super) fn add(&mut self, ip: IpAddr, born: &Born, key: &Key) {
        // Nearly always the only one.
        let claims = self
            .by_ip
            .entry(ip)
            .or_insert_with(|| Vec::with_capacity(1));
        claims.push(Claim {
            born: born.clone(),
            key: key.clone(),
        });
    }

    pub(super) fn remove(&mut self, ip: IpAddr, key: &Key) {
        if let Some(claims) = self.by_ip.get_mut(&ip) {
            claims.retain(|claim| claim.key != *key);
            if claims.is_empty() {
                self.by_ip.remove(&ip);
            }
        }
    }

    pub(super) fn holder(&self, ip: IpAddr) -> Option<&Key> {
        let youngest = self.by_ip.get(&ip)?.iter().max()?;
        Some(&youngest.key)
    }
}
