//! What the Secret holds if it is self-made, and what is to be done about it when.
//! Plain data: the replicas agree by what is in the Secret alone.
//!
//! A renewal takes two writes. First the next certificate is put beside the current
//! one, and its CA into `ca.crt`; every replica sees to it that the API server trusts
//! all of `ca.crt`. Once that is so, the next becomes the current one. The CA of the
//! one before stays until it expires, for a replica that has not heard of it yet.

use std::{collections::BTreeMap, time::SystemTime};

use k8s_openapi::ByteString;

use super::{
    CaPem, CertificateError, Named, ServingCertificate, Validity,
    self_made::{Pair, SelfMade},
    serving::{Anchors, Origin},
};

/// Entries of a Secret of type kubernetes.io/tls, which cert-manager uses too.
pub const CHAIN: &str = "tls.crt";
/// The key of [`CHAIN`].
pub const KEY: &str = "tls.key";
/// What both current and next certificate are trusted by.
pub const CAS: &str = "ca.crt";
/// The certificate that is served once it is trusted.
pub const NEXT_CHAIN: &str = "next-tls.crt";
/// The key of [`NEXT_CHAIN`].
pub const NEXT_KEY: &str = "next-tls.key";

/// A self-made Secret's content, known to be usable.
#[derive(Clone)]
pub struct Shared {
    cas: Vec<CaPem>,
    current: Usable,
    next: Option<Usable>,
}

#[derive(Clone)]
struct Usable {
    pair: Pair,
    certificate: ServingCertificate,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before then.
    Wait(SystemTime),
    /// Make the next certificate and put it beside the current one.
    Stage,
    /// Make the next certificate the current one.
    Promote,
    /// Begin anew: what is there has expired.
    Renew,
}

/// Why a Secret can't be served with.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It lacks an entry.
    #[error("it has no {0}")]
    Lacks(&'static str),
    /// An entry is no certificate or key, they don't belong together, or nobody would
    /// accept the certificate.
    #[error(transparent)]
    Unusable(#[from] CertificateError),
}

impl Shared {
    /// With nothing but one certificate.
    ///
    /// # Errors
    /// Never for what was made here; the same checks apply to all.
    pub fn fresh(made: SelfMade) -> Result<Self, CertificateError> {
        Ok(Self {
            cas: vec![made.ca],
            current: Usable::new([CHAIN, KEY], made.pair)?,
            next: None,
        })
    }

    /// With the next certificate beside the current one. CAs that are over are left
    /// out.
    ///
    /// # Errors
    /// Never for what was made here; the same checks apply to all.
    pub fn staged(&self, made: SelfMade, now: SystemTime) -> Result<Self, CertificateError> {
        let others = self.cas.iter().filter(|ca| holds(ca, now)).cloned();
        Ok(Self {
            cas: std::iter::once(made.ca).chain(others).collect(),
            current: self.current.clone(),
            next: Some(Usable::new([NEXT_CHAIN, NEXT_KEY], made.pair)?),
        })
    }

    /// With the next certificate as the current one; as it is if there is none.
    #[must_use]
    pub fn promoted(&self, now: SystemTime) -> Self {
        let current = self.next.as_ref().unwrap_or(&self.current);
        let cas = self.cas.iter().filter(|ca| holds(ca, now));
        Self {
            cas: cas.cloned().collect(),
            current: current.clone(),
            next: None,
        }
    }

    /// Reads a Secret's entries. A next certificate that is damaged is as good as none.
    ///
    /// # Errors
    /// If the current one can't be served with, or nobody would accept it. That it
    /// has expired is no damage.
    pub fn read(data: &BTreeMap<String, ByteString>, host: &str) -> Result<Self, Damaged> {
        let text = |entry: &'static str| {
            let text = data.get(entry).filter(|text| !text.0.is_empty());
            text.ok_or(Damaged::Lacks(entry))
        };
        let pair = |names: [&'static str; 2]| -> Result<Usable, Damaged> {
            let [chain, key] = [text(names[0])?, text(names[1])?];
            let string = |text: &ByteString| String::from_utf8_lossy(&text.0).into_owned();
            let pair = Pair {
                chain: string(chain),
                key: string(key),
            };
            Ok(Usable::new(names, pair)?)
        };
        let cas = CaPem::some_in(CAS, &text(CAS)?.0)?;
        let current = pair([CHAIN, KEY])?;
        trusted(&current.certificate, &cas, host)?;
        let next = pair([NEXT_CHAIN, NEXT_KEY]).ok();
        Ok(Self {
            next: next.filter(|next| trusted(&next.certificate, &cas, host).is_ok()),
            cas,
            current,
        })
    }

    /// The Secret's entries.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let cas: String = self.cas.iter().map(|ca| ca.0.as_str()).collect();
        let mut entries = vec![
            (CAS, cas),
            (CHAIN, self.current.pair.chain.clone()),
            (KEY, self.current.pair.key.clone()),
        ];
        if let Some(next) = &self.next {
            entries.push((NEXT_CHAIN, next.pair.chain.clone()));
            entries.push((NEXT_KEY, next.pair.key.clone()));
        }
        let bytes = |(name, text): (&str, String)| (name.to_owned(), ByteString(text.into_bytes()));
        entries.into_iter().map(bytes).collect()
    }

    /// What to serve with now.
    #[must_use]
    pub fn certificate(&self) -> &ServingCertificate {
        &self.current.certificate
    }

    /// What the API server is to trust, now and for the next step.
    #[must_use]
    pub fn anchors(&self, origin: Origin, now: SystemTime) -> Anchors {
        let cas = self.cas.iter().filter(|ca| holds(ca, now));
        Anchors {
            cas: cas.cloned().collect(),
            origin,
        }
    }

    /// What is to be done. `settled` means that every API server has trusted all of
    /// the anchors for long enough to know.
    #[must_use]
    pub fn step(&self, now: SystemTime, settled: bool) -> Step {
        let validity = self.current.certificate.validity();
        let next = self.next.as_ref().map(|next| next.certificate.validity());
        let next = next.filter(|next| !next.expired(now));
        match next {
            Some(_) if settled || validity.expired(now) => Step::Promote,
            Some(_) => Step::Wait(validity.not_after),
            None if validity.expired(now) => Step::Renew,
            None if validity.renew_at() <= now => Step::Stage,
            None => Step::Wait(validity.renew_at()),
        }
    }
}

impl Usable {
    fn new([chain, key]: [&str; 2], pair: Pair) -> Result<Self, CertificateError> {
        let named = |name, text| Named { name, text };
        let certificate = ServingCertificate::parse(
            named(chain, pair.chain.as_bytes()),
            named(key, pair.key.as_bytes()),
        )?;
        Ok(Self { pair, certificate })
    }
}

/// Whether a CA's time is not over. What is no certificate is kept from nobody: it
/// does not get into a Secret by us.
fn holds(ca: &CaPem, now: SystemTime) -> bool {
    let validity = ca.der().and_then(|der| Validity::of(&der));
    validity.is_some_and(|validity| !validity.expired(now))
}

/// Whether clients accept it at some time of its life.
fn trusted(
    certificate: &ServingCertificate,
    cas: &[CaPem],
    host: &str,
) -> Result<(), CertificateError> {
    let midlife = certificate.validity().renew_at();
    certificate.accepted_by(CHAIN, cas, Some(host), midlife)
}

#[cfg(test)]
mod tests;
