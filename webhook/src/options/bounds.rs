//! What the LimitRanges of a namespace allow a container, and a pod.
//! <https://kubernetes.io/docs/concepts/policy/limit-range/>

use super::Quantity;

/// Bounds for what a container may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of cores.
    pub cpu: BoundsOf,
    /// Of bytes.
    pub memory: BoundsOf,
    /// Of bytes on the node's disk, for which a sidecar asks only if it must.
    pub ephemeral_storage: BoundsOf,
}

/// Bounds for a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundsOf {
    /// For each container.
    pub container: Bound,
    /// For all containers of a pod together.
    pub pod: Bound,
}

/// What the containers of a pod have of a resource together: nothing, if none of them
/// says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// What they request.
    pub request: Option<Quantity>,
    /// What they are limited to.
    pub limit: Option<Quantity>,
}

/// Bounds of a request and a limit; none that are not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Both are at least this.
    pub min: Option<Quantity>,
    /// Both are at most this, and there must be a limit.
    pub max: Option<Quantity>,
    /// The limit is at most so many times the request, and there must be one.
    pub ratio_max: Option<Quantity>,
    /// The limit of a container that has none.
    pub limit_otherwise: Option<Quantity>,
    /// The request of a container that has none.
    pub request_otherwise: Option<Quantity>,
}

impl Bound {
    /// Both of these bounds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // A bound that is there goes before one that isn't.
        let least = |one: Option<Quantity>, other: Option<Quantity>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            min: self.min.max(other.min),
            max: least(self.max, other.max),
            ratio_max: least(self.ratio_max, other.ratio_max),
            limit_otherwise: least(self.limit_otherwise, other.limit_otherwise),
            request_otherwise: least(self.request_otherwise, other.request_otherwise),
        }
    }

    /// Whether anything is said.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a container with these is admitted.
    #[must_use]
    pub fn allows(&self, request: &Quantity, limit: Option<&Quantity>) -> bool {
        let min = self.min.as_ref().is_none_or(|min| {
            let enough = |amount: &Quantity| amount >= min;
            enough(request) && limit.is_none_or(enough)
        });
        let max = self.max.as_ref().is_none_or(|max| {
            let little = |amount: &Quantity| amount <= max;
            little(request) && limit.is_some_and(little)
        });
        let ratio = self.ratio_max.as_ref().is_none_or(|ratio| {
            let least = limit.and_then(|limit| limit.divided_by(ratio));
            !request.is_zero() && least.is_some_and(|least| *request >= least)
        });
        min && max && ratio
    }

    /// A container's request and limit, made so small that its pod is within these
    /// bounds, besides the others that the pod has. (Bounds that those break
    /// themselves are none of ours to keep.)
    #[must_use]
    pub fn fit_beside(
        &self,
        others: &Total,
        request: Quantity,
        limit: Option<Quantity>,
    ) -> (Quantity, Option<Quantity>) {
        let no_more = |amount: Quantity, taken: &Option<Quantity>| {
            let left = self.max.as_ref().map(|max| match taken {
                Some(taken) => max.minus(taken),
                None => max.clone(),
            });
            left.map_or(amount.clone(), |left| left.min(amount))
        };
        // A pod's only limit is that of the pod.
        let alone = others.limit.is_none();
        let least = self.min.clone().filter(|_| alone);
        let limit = limit.map(|limit| match least {
            Some(least) => limit.max(least),
            None => limit,
        });
        let limit = limit.map(|limit| no_more(limit, &others.limit));
        let request = no_more(request, &others.request);
        match (limit, &self.ratio_max) {
            (Some(limit), Some(ratio)) => {
                let least = limit.divided_by(ratio);
                let request = least.map_or(request.clone(), |least| least.max(request));
                let request = no_more(request, &others.request).min(limit.clone());
                let limit = limit.min(request.times(ratio));
                (request, Some(limit))
            }
            (Some(limit), None) => (request.min(limit.clone()), Some(limit)),
            (None, _) => (request, None),
        }
    }

    /// A request and a limit, moved by as little as it takes to be within the bounds.
    /// Where there must be a limit and nobody says which, it is `most`.
    #[must_use]
    pub fn fit(
        &self,
        request: Quantity,
        limit: Option<Quantity>,
        most: Quantity,
    ) -> (Quantity, Option<Quantity>) {
        let is_due = self.max.is_some() || self.ratio_max.is_some();
        let invented = || {
            let otherwise = self.limit_otherwise.clone();
            let limit = otherwise.or_else(|| is_due.then_some(most));
            // LimitRanger would write a lower one, and then refuse the pod for it.
            limit.map(|limit| limit.max(request.clone()))
        };
        let limit = limit.or_else(invented).map(|limit| self.clamp(limit));
        let mut request = self.clamp(request);
        if let Some(limit) = &limit {
            if let Some(ratio) = &self.ratio_max
                && let Some(least) = limit.divided_by(ratio)
            {
                request = request.max(least);
            }
            request = request.min(limit.clone());
        }
        (request, limit)
    }

    fn clamp(&self, amount: Quantity) -> Quantity {
        let amount = match &self.min {
            Some(min) => amount.max(min.clone()),
            None => amount,
        };
        match &self.max {
            Some(max) => amount.min(max.clone()),
            None => amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Option<Quantity> {
        (!text.is_empty()).then(|| text.parse().expect("it is a quantity"))
    }

    fn fitted(bound: &Bound, request: &str, limit: &str) -> String {
        let request = quantity(request).expect("there always is one");
        let most = quantity("128Mi").expect("it is a quantity");
        match bound.fit(request, quantity(limit), most) {
            (request, Some(limit)) => format!("{request} of {limit}"),
            (request, None) => request.to_string(),
        }
    }

    #[test]
    fn amounts_are_moved_by_as_little_as_it_takes() {
        let none = Bound::default();
        let min = Bound {
            min: quantity("32Mi"),
            ..Bound::default()
        };
        let max = Bound {
            max: quantity("64Mi"),
            ..Bound::default()
        };
        let ratio = Bound {
            ratio_max: quantity("2"),
            ..Bound::default()
        };
        let otherwise = Bound {
            limit_otherwise: quantity("24Mi"),
            ..Bound::default()
        };
        for (bound, request, limit, expected) in [
            (&none, "16Mi", "", "16Mi"),
            (&none, "16Mi", "1Gi", "16Mi of 1Gi"),
            (&min, "16Mi", "", "32Mi"),
            (&min, "16Mi", "24Mi", "32Mi of 32Mi"),
            (&min, "48Mi", "", "48Mi"),
            (&max, "16Mi", "", "16Mi of 64Mi"),
            (&max, "1Gi", "2Gi", "64Mi of 64Mi"),
            (&ratio, "16Mi", "", "67108864 of 128Mi"),
            (&ratio, "16Mi", "20Mi", "16Mi of 20Mi"),
            (&ratio, "100m", "500m", "250m of 500m"),
            (&ratio, "1", "3m", "3m of 3m"),
            (&otherwise, "16Mi", "", "16Mi of 24Mi"),
            (&otherwise, "32Mi", "", "32Mi of 32Mi"),
        ] {
            let fitted = fitted(bound, request, limit);
            assert_eq!(fitted, expected, "{bound:?}: {request} {limit}");
        }
    }

    #[test]
    fn a_pod_stays_within_its_bounds_with_one_container_more() {
        let max = || Bound {
            max: quantity("1"),
            ..Bound::default()
        };
        let ratio = || Bound {
            ratio_max: quantity("2"),
            ..max()
        };
        let min = || Bound {
            min: quantity("500m"),
            ..max()
        };
        for (bound, others, ours, expected) in [
            (
                Bound::default(),
                ("4", "8"),
                ("10m", "500m"),
                ("10m", "500m"),
            ),
            (max(), ("500m", "500m"), ("10m", "500m"), ("10m", "500m")),
            (max(), ("500m", "900m"), ("10m", "500m"), ("10m", "100m")),
            (max(), ("500m", "995m"), ("10m", "500m"), ("5m", "5m")),
            (max(), ("995m", "995m"), ("10m", ""), ("5m", "")),
            (max(), ("1", "1"), ("10m", ""), ("0m", "")),
            (max(), ("2", "2"), ("10m", "500m"), ("0m", "0m")),
            (max(), ("", ""), ("2", "3"), ("1", "1")),
            (ratio(), ("400m", "800m"), ("10m", "500m"), ("100m", "200m")),
            (ratio(), ("990m", "990m"), ("10m", "500m"), ("10m", "10m")),
            (ratio(), ("995m", "900m"), ("10m", "500m"), ("5m", "10m")),
            (min(), ("600m", ""), ("10m", "100m"), ("10m", "500m")),
            (min(), ("600m", "600m"), ("10m", "100m"), ("10m", "100m")),
        ] {
            let total = Total {
                request: quantity(others.0),
                limit: quantity(others.1),
            };
            let request = quantity(ours.0).expect("there always is one");
            let fitted = bound.fit_beside(&total, request, quantity(ours.1));
            let (request, limit) = (fitted.0.to_string(), fitted.1);
            let limit = limit.map_or(String::new(), |limit| limit.to_string());
            assert_eq!((&*request, &*limit), expected, "{others:?} and {ours:?}");
        }
    }

    #[test]
    fn what_would_be_refused_is_not_allowed() {
        let bound = Bound {
            min: quantity("10m"),
            max: quantity("100m"),
            ratio_max: quantity("4"),
            ..Bound::default()
        };
        for (request, limit, allowed) in [
            ("10m", "40m", true),
            ("10m", "41m", false),
            ("10m", "", false),
            ("9m", "10m", false),
            ("0", "10m", false),
            ("100m", "101m", false),
        ] {
            let request = quantity(request).expect("there always is one");
            let limit = quantity(limit);
            let actual = bound.allows(&request, limit.as_ref());
            assert_eq!(actual, allowed, "{request} of {limit:?}");
        }
        let nothing = Bound::default();
        assert!(!nothing.is_any() && bound.is_any());
        let zero = quantity("0").expect("it is one");
        assert!(nothing.allows(&zero, None));
    }

    #[test]
    fn of_two_ranges_the_narrower_bounds_hold() {
        let bound = |min: &str, max: &str| Bound {
            min: quantity(min),
            max: quantity(max),
            ..Bound::default()
        };
        assert_eq!(bound("1", "").and(bound("2", "9")), bound("2", "9"));
        assert_eq!(bound("", "8").and(bound("1", "9")), bound("1", "8"));
    }
}
