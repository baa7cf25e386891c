//! What a query asks for.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
};
use serde::Deserialize;

use super::Refused;
use crate::objects::Key;

/// How long a query waits that doesn't say, and at most; as in Consul.
const WAIT_DEFAULT: Duration = Duration::from_secs(5 * 60);
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// A query's parameters.
#[derive(Debug, Default)]
pub(super) struct Params {
    /// Waits until the answer's version is another one.
    pub(super) index: Option<u64>,
    /// Waits this long at most.
    pub(super) wait: Duration,
    ns: Option<String>,
    tag: Option<String>,
    passing: bool,
}

#[derive(Deserialize)]
struct Given {
    index: Option<String>,
    wait: Option<String>,
    ns: Option<String>,
    tag: Option<String>,
    passing: Option<String>,
    filter: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let given = Query::<Given>::from_request_parts(parts, state).await;
        let Query(given) = given.map_err(|error| bad(error.body_text()))?;
        Self::parse(given)
    }
}

impl Params {
    fn parse(given: Given) -> Result<Self, Refused> {
        if given.filter.is_some() {
            // To ignore it would give more than was asked for.
            return Err(bad("filter is not supported; use ns, tag or passing"));
        }
        let index = given.index.map(|index| {
            let parsed = index.parse().map_err(|_| ());
            parsed.map_err(|()| bad(format!("index is a number, and \"{index}\" is none")))
        });
        let wait = given.wait.map(|wait| {
            let parsed = humantime::parse_duration(&wait);
            parsed.map_err(|_| bad(format!("wait is a time such as 30s or 5m, not \"{wait}\"")))
        });
        Ok(Self {
            index: index.transpose()?,
            wait: wait.transpose()?.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX),
            ns: given.ns.filter(|ns| !ns.is_empty()),
            tag: given.tag,
            passing: given
                .passing
                .is_some_and(|said| !matches!(said.as_str(), "false" | "0")),
        })
    }

    pub(super) fn passing(&self) -> bool {
        self.passing
    }

    pub(super) fn is_in(&self, key: &Key) -> bool {
        self.ns.as_deref().is_none_or(|ns| ns == &*key.namespace)
    }

    pub(super) fn wants_port(&self, port_name: &str) -> bool {
        self.tag.as_deref().is_none_or(|tag| tag == port_name)
    }

    /// A service's name, with its namespace unless that is what was asked for.
    pub(super) fn name_of(&self, key: &Key) -> String {
        match self.ns {
            Some(_) => key.name.to_string(),
            None => format!("{}.{}", key.name, key.namespace),
        }
    }
}

/// Which service is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) service: String,
    /// All namespaces, if none is said.
    pub(super) namespace: Option<String>,
}

impl Name {
    /// `cart` or `cart.shop`: a service's name has no dot.
    pub(super) fn parse(name: &str, params: &Params) -> Result<Self, Refused> {
        let (service, in_name) = match name.split_once('.') {
            Some((service, namespace)) => (service, Some(namespace)),
            None => (name, None),
        };
        let namespace = match (in_name, params.ns.as_deref()) {
            (Some(one), Some(other)) if one != other => {
                let why = format!("the name says namespace {one}, and ns says {other}");
                return Err(bad(why));
            }
            (one, other) => one.or(other),
        };
        if service.is_empty() || namespace == Some("") {
            return Err(bad(format!("\"{name}\" is no name; use cart or cart.shop")));
        }
        Ok(Self {
            service: service.to_owned(),
            namespace: namespace.map(str::to_owned),
        })
    }
}

fn bad(why: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why.into())
}
