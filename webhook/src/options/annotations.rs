//! What annotations say about injection, and whose they are.

use std::{collections::BTreeMap, fmt};

use crate::{names, pod::Pod};

use super::Bounds;

/// A namespace, as far as its pods' injection depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its annotations. Those of Netting are its pods' defaults.
    pub annotations: &'a BTreeMap<String, String>,
    /// What its label says that its pods must meet of Pod Security, if anything.
    pub pod_security: Option<&'a str>,
    /// What its LimitRanges allow.
    pub bounds: Option<&'a Bounds>,
    /// Whether its label asks for sidecars for its pods; `None` if nobody knows.
    pub asks: Option<bool>,
    /// Whether the API server was asked for all of this and didn't say, so that its pods
    /// get the webhook's defaults.
    pub unanswered: bool,
}

impl<'a> Namespace<'a> {
    /// A namespace of which nothing but the name is known.
    #[must_use]
    pub fn named(name: &'a str) -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Self {
            name,
            annotations: &NONE,
            pod_security: None,
            bounds: None,
            asks: None,
            unanswered: false,
        }
    }

    /// What its annotations say to Netting.
    pub(crate) fn says(self) -> impl Iterator<Item = Given<'a>> {
        let source = Source::Namespace(self.name);
        let annotations = self.annotations.iter();
        annotations.filter_map(move |(key, value)| Given::read(source, key, value))
    }
}

/// What a pod's annotations say to Netting.
pub(crate) fn pod_says<'a>(pod: &Pod<'a>) -> impl Iterator<Item = Given<'a>> {
    let annotations = pod.annotations();
    annotations.filter_map(|(key, value)| Given::read(Source::Pod, key, value))
}

/// Whose annotation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The pod's own.
    Pod,
    /// That of the namespace of this name.
    Namespace(&'a str),
}

/// One value that an annotation gave, with its name and where it was found.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Where it was found.
    pub source: Source<'a>,
    /// The annotation's key.
    pub key: &'a str,
    /// What it says.
    pub value: &'a str,
}

impl<'a> Given<'a> {
    /// `None` if it is not one of Netting's.
    fn read(source: Source<'a>, key: &'a str, value: &'a str) -> Option<Self> {
        key.starts_with(names::DOMAIN)
            .then_some(Self { source, key, value })
    }

    /// The key without Netting's domain.
    #[must_use]
    pub fn option(&self) -> &'a str {
        self.key.strip_prefix(names::DOMAIN).unwrap_or(self.key)
    }

    /// The same annotation with a part of its value.
    #[must_use]
    pub fn item(self, value: &'a str) -> Self {
        Self { value, ..self }
    }
}

/// What a warning about the annotation begins with.
impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod => Ok(()),
            Self::Namespace(name) => write!(f, "namespace {name}: "),
        }
    }
}
