//! The HTTP side: the index as people and scripts ask it, shaped like Consul's API
//! (<https://developer.hashicorp.com/consul/api-docs/catalog>), so that what reads
//! Consul reads this.
//!
//! | path | answers |
//! |---|---|
//! | `/v1/catalog/services` | names of services, with their ports' names as tags |
//! | `/v1/catalog/service/:name` | the endpoints of a service |
//! | `/v1/health/service/:name` | the same with their readiness; `?passing` for the ready ones |
//!
//! A name is `cart` in all namespaces, or `cart.shop`, or `cart` with `?ns=shop`.
//! `?tag=` chooses a port. `?index=` with what the last answer's `X-Consul-Index`
//! said waits for a change, for up to `?wait=` (`30s`, `5m`).

mod blocking;
mod consul;
mod params;
mod server;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use netting_runtime::Drain;
use netting_telemetry::{
    catalog::CatalogMetrics,
    trace::{
        Tracer,
        served::{self, Route},
    },
};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    index::Index,
    objects::{Key, Service},
    publisher::{Modified, Publisher},
};

use params::{Name, Params};

pub use server::serve;

/// Carries the version of an answer, for the next query's `index`.
const INDEX_HEADER: HeaderName = HeaderName::from_static("x-consul-index");

/// Answers queries about what the publisher publishes.
#[derive(Clone, Debug)]
pub struct Queries {
    publisher: Arc<Publisher>,
    metrics: CatalogMetrics,
    waiting: Arc<Semaphore>,
    tracer: Option<Tracer>,
    drain: Drain,
}

/// A query that is not answered; its text says what to do.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl Queries {
    /// Queries of which at most `waiting_max` wait for a change.
    #[must_use]
    pub fn new(
        publisher: Arc<Publisher>,
        metrics: CatalogMetrics,
        waiting_max: usize,
        drain: Drain,
    ) -> Self {
        Self {
            publisher,
            metrics,
            waiting: Arc::new(Semaphore::new(waiting_max)),
            tracer: None,
            drain,
        }
    }

    /// The same, with a span for each.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// The routes.
    pub fn router(self) -> Router {
        let tracer = self.tracer.clone();
        let traced = |path, answers: MethodRouter<Self>| {
            let route = Route {
                tracer: tracer.clone(),
                path,
                scheme: "http",
            };
            Router::new().route(path, answers.layer(from_fn_with_state(route, served::tell)))
        };
        Router::new()
            .merge(traced("/v1/catalog/services", get(services)))
            .merge(traced("/v1/catalog/service/{name}", get(catalog_service)))
            .merge(traced("/v1/health/service/{name}", get(health_service)))
            .fallback(|| async {
                Refused(
                    StatusCode::NOT_FOUND,
                    "there are /v1/catalog/services, /v1/catalog/service/NAME and \
                     /v1/health/service/NAME"
                        .to_owned(),
                )
            })
            .with_state(self)
    }

    /// Before everything has been listed, an answer would be wrong.
    fn check_synced(&self) -> Result<(), Refused> {
        if *self.publisher.synced().borrow() {
            return Ok(());
        }
        let why = "the catalog has not listed the cluster yet; see /ready on its admin port";
        Err(Refused(StatusCode::SERVICE_UNAVAILABLE, why.to_owned()))
    }
}

async fn services(State(queries): State<Queries>, params: Params) -> Result<Response, Refused> {
    queries.check_synced()?;
    let version = |_: &Index, modified: &Modified| modified.listing();
    queries.wait(&params, version).await?;
    let (version, services) = queries.publisher.read(|index, modified| {
        let services = index
            .services()
            .filter(|service| params.is_in(&service.key));
        let services = services.map(|service| (params.name_of(&service.key), tags(service)));
        let services: BTreeMap<String, Vec<String>> = services.collect();
        (version(index, modified), services)
    });
    Ok(answer(version, services))
}

async fn catalog_service(
    State(queries): State<Queries>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Refused> {
    queries.instances(&name, &params, consul::catalog).await
}

async fn health_service(
    State(queries): State<Queries>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Refused> {
    let passing = params.passing();
    let shape = |instance: consul::Instance| {
        let health = consul::health(instance);
        (!passing || health.is_passing()).then_some(health)
    };
    queries.instances(&name, &params, shape).await
}

impl Queries {
    async fn instances<T: Serialize, I: IntoIterator<Item = T>>(
        &self,
        name: &str,
        params: &Params,
        shape: impl Fn(consul::Instance) -> I,
    ) -> Result<Response, Refused> {
        self.check_synced()?;
        let name = Name::parse(name, params)?;
        let version = |_: &Index, modified: &Modified| {
            let named = match &name.namespace {
                Some(namespace) => {
                    let key = Key::new(namespace.as_str(), name.service.as_str());
                    modified.of(&key)
                }
                None => modified.of_name(&name.service),
            };
            named.unwrap_or_default().max(modified.gone())
        };
        self.wait(params, version).await?;
        // Sorted and shaped outside, so that the index is held for as short as can be.
        let (version, mut states) = self.publisher.read(|index, modified| {
            let states = named(index, &name).map(|service| {
                let modified = modified.of(&service.key).unwrap_or_default();
                let complaints = service.complaints.clone();
                let states = index.service_states(service);
                (service.key.clone(), modified, complaints, states)
            });
            let states: Vec<_> = states.collect();
            (version(index, modified), states)
        });
        states.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut instances = Vec::new();
        for (_, modified, complaints, states) in &states {
            for state in states {
                if params.wants_port(&state.destination.port_name) {
                    let all = consul::instances(state, complaints, *modified);
                    instances.extend(all.flat_map(&shape));
                }
            }
        }
        Ok(answer(version, instances))
    }
}

/// The services of a name, in each namespace that is asked for.
fn named<'a>(index: &'a Index, name: &'a Name) -> impl Iterator<Item = &'a Service> {
    let (one, all) = match &name.namespace {
        Some(namespace) => {
            let key = Key::new(namespace.as_str(), name.service.as_str());
            (index.service(&key), None)
        }
        None => (None, Some(index.services())),
    };
    let all = all.into_iter().flatten();
    let all = all.filter(|service| *service.key.name == *name.service);
    one.into_iter().chain(all)
}

fn tags(service: &Service) -> Vec<String> {
    let names = service.ports.iter().map(|port| port.name.to_string());
    names.filter(|name| !name.is_empty()).collect()
}

fn answer(version: u64, body: impl Serialize) -> Response {
    let version = blocking::index_of(version);
    ([(INDEX_HEADER, version.to_string())], Json(body)).into_response()
}

#[cfg(test)]
mod tests;
