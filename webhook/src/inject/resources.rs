//! The resources of what is injected, which decide the pod's quality of service, and
//! whether its namespace takes it.

use serde_json::{Map, Value, json};

use crate::{
    decision::SkipReason,
    names::SidecarMode,
    options::{Bounds, BoundsOf, Budget, MEMORY_LIMIT_MIN, Namespace, PodOptions, Quantity, Total},
    pod::Pod,
    warnings::Warnings,
};

mod own;
#[cfg(test)]
mod tests;

use own::Kind;

/// A resource, and how much of it is right for a sidecar where nobody says.
struct Resource {
    name: &'static str,
    /// In a Guaranteed pod the sidecar can't use more than it requests, so it requests
    /// what it needs under load.
    guaranteed: &'static str,
    /// Where limits are the rule but requests may be lower, there is room for bursts.
    limited: &'static str,
    /// With a limit of less there is no sidecar.
    limit_min: &'static str,
}

const CPU: Resource = Resource {
    name: "cpu",
    guaranteed: "100m",
    limited: "500m",
    // The kernel's least is 10m, whatever is asked for; 0 is no limit at all.
    limit_min: "1m",
};

const MEMORY: Resource = Resource {
    name: "memory",
    guaranteed: "64Mi",
    limited: "128Mi",
    limit_min: MEMORY_LIMIT_MIN,
};

/// On the node's disk a sidecar has its logs alone, of which the kubelet keeps 50 MiB.
const STORAGE_LIMITED: &str = "256Mi";

/// A request, and a limit if there is one.
type Amounts = (Quantity, Option<Quantity>);

/// The namespace's LimitRanges leave too little.
#[derive(Debug)]
struct NoRoom;

/// The `resources` of both injected containers.
///
/// A pod is Guaranteed if each of its containers has limits for CPU and memory
/// and requests no less than them
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>), so in such a
/// pod ours do so too. (An init container of the same size costs the pod nothing
/// extra: it has ended before the application begins.)
///
/// Where each of the pod's containers has a limit, ours have one: a ResourceQuota for
/// limits may be the reason, by which the API server refuses pods with a container
/// that has none (<https://kubernetes.io/docs/concepts/policy/resource-quotas/>).
///
/// What the pod as a whole has an amount of, its containers share: there ours ask
/// for nothing of their own. Their requests could exceed the pod's, which the API
/// server would refuse, and its class depends on the pod's amounts alone
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-level-resources/>).
///
/// Ours are moved to where the namespace's LimitRanges allow them and the pod
/// (<https://kubernetes.io/docs/concepts/policy/limit-range/>), whatever the pod's note
/// says that LimitRanger has filled in: it comes along with an exported pod.
///
/// # Errors
/// If LimitRanges leave nothing that a sidecar could live on: with it, the API server
/// would refuse the pod.
pub(super) fn of(
    pod: &Pod<'_>,
    namespace: Namespace<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) -> Result<Value, SkipReason> {
    let is_shared = |resource: &Resource| own::is_shared(pod, resource.name);
    let guaranteed = !is_shared(&CPU) && !is_shared(&MEMORY) && own::is_guaranteed(pod);
    let mut requests = Map::new();
    let mut limits = Map::new();
    for (resource, budget) in [(CPU, &chosen.cpu), (MEMORY, &chosen.memory)] {
        let name = resource.name;
        let bounds = namespace.bounds.map(|bounds| match name {
            "cpu" => &bounds.cpu,
            _ => &bounds.memory,
        });
        let place = Place {
            pod,
            mode: chosen.mode,
            bounds,
        };
        let amounts = if is_shared(&resource) {
            if budget.is_chosen() {
                warnings.push(format!(
                    "netting: the pod has {name} as a whole, which its sidecar shares; \
                     netting.dev/proxy-{name}-… ignored"
                ));
            }
            resource.shared(&place)
        } else {
            let wished = resource.wished(pod, budget, guaranteed);
            let told = budget.is_chosen().then_some(&mut *warnings);
            resource.allowed(&place, wished, told).map(Some)
        };
        let amounts = amounts.map_err(|NoRoom| SkipReason::LimitRange { resource: name })?;
        if let Some((request, limit)) = amounts {
            requests.insert(name.to_owned(), json!(request.to_string()));
            if let Some(limit) = limit {
                limits.insert(name.to_owned(), json!(limit.to_string()));
            }
        }
    }
    if let Some((request, limit)) = namespace.bounds.and_then(storage) {
        requests.insert(STORAGE.to_owned(), json!(request.to_string()));
        limits.extend(limit.map(|limit| (STORAGE.to_owned(), json!(limit.to_string()))));
    }
    let mut resources = Map::new();
    for (kind, amounts) in [("requests", requests), ("limits", limits)] {
        if !amounts.is_empty() {
            resources.insert(kind.to_owned(), Value::Object(amounts));
        }
    }
    Ok(Value::Object(resources))
}

const STORAGE: &str = "ephemeral-storage";

/// Nothing, unless LimitRanges have a ratio of limit and request: then both must be there.
/// (The other bounds LimitRanger fills in where nothing is said.)
fn storage(bounds: &Bounds) -> Option<Amounts> {
    let container = &bounds.ephemeral_storage.container;
    container.ratio_max.as_ref()?;
    Some(container.fit(amount("0"), None, amount(STORAGE_LIMITED)))
}

/// Where a resource is asked for, and within which bounds.
struct Place<'a> {
    pod: &'a Pod<'a>,
    mode: SidecarMode,
    bounds: Option<&'a BoundsOf>,
}

impl Place<'_> {
    fn total(&self, name: &str) -> Total {
        let total = |kind| own::total(self.pod, self.mode, kind, name);
        Total {
            request: total(Kind::Requests),
            limit: total(Kind::Limits),
        }
    }
}

impl Resource {
    /// What it should be, if nobody minds.
    fn wished(&self, pod: &Pod<'_>, budget: &Budget, guaranteed: bool) -> Amounts {
        let least = amount(self.limit_min);
        // The limit that was chosen; else this one, or the request if that is higher.
        let limit_or = |otherwise: Quantity| {
            let otherwise = otherwise.max(least.clone());
            let chosen = budget.limit().cloned();
            chosen.unwrap_or_else(|| budget.request().clone().max(otherwise))
        };
        if guaranteed {
            let is_request_chosen = budget.is_chosen() && !budget.request().is_zero();
            let limit = match budget.limit() {
                None if is_request_chosen => limit_or(least.clone()),
                _ => limit_or(amount(self.guaranteed)),
            };
            return (limit.clone(), Some(limit));
        }
        let limit = match own::largest_limit(pod, self.name) {
            Some(largest) => Some(limit_or(largest.min(amount(self.limited)))),
            None => budget.limit().cloned(),
        };
        (budget.request().clone(), limit)
    }

    /// The amounts as LimitRanges allow them; whoever chose others is told.
    fn allowed(
        &self,
        place: &Place<'_>,
        wished: Amounts,
        told: Option<&mut Warnings>,
    ) -> Result<Amounts, NoRoom> {
        let Some(BoundsOf { container, pod }) = place.bounds else {
            return Ok(wished);
        };
        let (request, limit) = wished.clone();
        let (request, limit) = container.fit(request, limit, amount(self.limited));
        let (request, limit) = pod.fit_beside(&place.total(self.name), request, limit);
        let is_moved = |now: &Quantity| wished.1.as_ref() != Some(now);
        let too_little = |limit: &Quantity| is_moved(limit) && *limit < amount(self.limit_min);
        if limit.as_ref().is_some_and(too_little) || !container.allows(&request, limit.as_ref()) {
            return Err(NoRoom);
        }
        let moved = request != wished.0 || (wished.1.is_some() && limit != wished.1);
        if let (true, Some(warnings)) = (moved, told) {
            let name = self.name;
            let limit = limit.as_ref();
            let limit = limit.map_or("none".to_owned(), ToString::to_string);
            warnings.push(format!(
                "netting: a LimitRange moves the sidecar's {name} to a request of {request} and a \
                 limit of {limit}"
            ));
        }
        Ok((request, limit))
    }

    /// Nothing, of what the pod has as a whole; but where LimitRanger would write
    /// something for a container that says nothing, as little as is allowed.
    fn shared(&self, place: &Place<'_>) -> Result<Option<Amounts>, NoRoom> {
        let Some(container) = place
            .bounds
            .map(|bounds| &bounds.container)
            .filter(|bound| bound.is_any())
        else {
            return Ok(None);
        };
        let whole = |kind| own::of_whole(place.pod, kind, self.name);
        let most = whole(Kind::Limits);
        let limited = amount(self.limited);
        let limit = most.clone().map(|most| most.min(limited.clone()));
        let (request, limit) = container.fit(amount("0"), limit, limited);
        let others = place.total(self.name).request;
        let together = others.map_or(request.clone(), |others| others.plus(&request));
        let fits = request.is_zero()
            || whole(Kind::Requests)
                .or(most.clone())
                .is_none_or(|whole| together <= whole);
        let is_within = |limit: &Quantity| most.as_ref().is_none_or(|most| limit <= most);
        let limit_fits = limit.as_ref().is_none_or(is_within);
        if fits && limit_fits && container.allows(&request, limit.as_ref()) {
            Ok(Some((request, limit)))
        } else {
            Err(NoRoom)
        }
    }
}

fn amount(constant: &str) -> Quantity {
    constant.parse().expect("the constants are quantities")
}
